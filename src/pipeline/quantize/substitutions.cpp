// SPDX-License-Identifier: Apache-2.0
//
// Formats that could not hold a tensor, in words.
#include <fmt/format.h>

#include <map>

#include "format/format.h"
#include "pipeline/quantize/quantize_model.h"

namespace nibble {

std::string_view obstacle_name(Obstacle obstacle) {
  switch (obstacle) {
    case Obstacle::none:
      return "none";
    case Obstacle::row_length:
      return "row_length";
    case Obstacle::magnitude:
      return "magnitude";
  }
  return "none";
}

std::string describe_substitutions(const QuantizeSummary& summary) {
  std::string text;
  for (const Obstacle obstacle : {Obstacle::row_length, Obstacle::magnitude}) {
    std::map<std::string, std::map<std::string, std::uint64_t>> replaced;  // wanted -> stored -> tensors
    std::map<std::string, std::uint64_t> cols;                             // of one of them
    std::uint64_t count = 0, elements = 0;
    for (const TensorSummary& tensor : summary.tensors) {
      if (tensor.wanted.empty() || tensor.obstacle != obstacle) continue;
      ++replaced[tensor.wanted][tensor.format];
      cols.emplace(tensor.wanted, tensor.cols);
      ++count;
      elements += tensor.elements();
    }
    if (count == 0) continue;
    std::string names, became;
    for (const auto& [wanted, stored] : replaced) {
      names += (names.empty() ? "" : ", ") + wanted;
      for (const auto& [format, number] : stored)
        became += fmt::format("{}{} became {} in {}", became.empty() ? "" : ", ", wanted, format, number);
      if (obstacle == Obstacle::row_length)
        became +=
            fmt::format(" ({} is not a multiple of {})", cols.at(wanted), find_format(wanted)->info().row_multiple);
    }
    const std::string_view why = obstacle == Obstacle::row_length
                                     ? "their rows do not fit its blocks"
                                     : "their weights are too large or too small for its scales";
    text += fmt::format("{}{} of {} tensors, {:.1f} % of parameters, are not {} because {}: {}",
                        text.empty() ? "" : "; ", count, summary.tensors.size(),
                        100.0 * static_cast<double>(elements) / static_cast<double>(summary.parameters), names, why,
                        became);
  }
  return text;
}

}  // namespace nibble
