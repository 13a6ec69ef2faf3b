// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/job_part.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "nibble/error.h"
#include "pipeline/quantize/quantize_layers.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/tensor_output.h"

namespace nibble {

JobPart parse_job_part(std::string_view spelling) {
  constexpr std::uint64_t kMostParts = 65536;
  JobPart part{0, 0};
  const char* const last = spelling.data() + spelling.size();
  const auto [slash, first_error] = std::from_chars(spelling.data(), last, part.number);
  if (first_error == std::errc{} && slash != last && *slash == '/') {
    const auto [end, error] = std::from_chars(slash + 1, last, part.count);
    if (error == std::errc{} && end == last && part.number >= 1 && part.number <= part.count &&
        part.count <= kMostParts)
      return part;
  }
  throw Error(ErrorKind::invalid_argument,
              fmt::format("a part is which of how many, from 1/8 to 8/8 (at most {}): '{}'", kMostParts, spelling));
}

std::string job_part_text(const JobPart& part) { return fmt::format("{}/{}", part.number, part.count); }

PartShare::PartShare(const QuantizePlan& plan, const QuantizeModelOptions& options, const JobPart& part) : part_(part) {
  const bool is_calibrated = needs_calibration(plan, options);
  for (const TensorPlan& tensor : plan.tensors) {
    const bool is_coded = tensor.target.format->info().kind != FormatKind::raw;
    Place place{.begin = total_,
                .row = tensor.cols * progress_weight(tensor.role, is_calibrated),
                .is_whole = is_calibrated && is_coded};
    place.end = total_ += tensor.rows * place.row;
    places_.push_back(place);
  }
}

std::uint64_t PartShare::owner(std::uint64_t at) const {
  __extension__ using Wide = unsigned __int128;  // exact, so that machines of all kinds agree
  const Wide share = static_cast<Wide>(at) * part_.count / std::max<std::uint64_t>(1, total_);
  return std::min(part_.count - 1, static_cast<std::uint64_t>(share));
}

bool PartShare::owns(std::size_t tensor, RowRange rows) const {
  const Place& place = places_[tensor];
  const std::uint64_t twice =
      place.is_whole ? place.begin + place.end : 2 * place.begin + (rows.begin + rows.end) * place.row;
  return owner(twice / 2) == part_.number - 1;
}

bool PartShare::touches(std::size_t tensor) const {
  const Place& place = places_[tensor];
  if (place.is_whole) return owns(tensor, {});
  return owner(place.begin) <= part_.number - 1 && part_.number - 1 <= owner(place.end);
}

}  // namespace nibble
