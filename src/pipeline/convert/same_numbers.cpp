// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert/same_numbers.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/progress_meter.h"
#include "io/json_text.h"
#include "model/arch/architecture.h"
#include "model/config.h"
#include "nibble/error.h"

namespace nibble {
namespace {

[[noreturn]] void refuse(const SourceModel& file, const SourceModel& other, const std::string& why) {
  throw Error(ErrorKind::unusable_input,
              fmt::format("{} and {} are not of one network: {}", file.path().string(), other.path().string(), why));
}

const ModelTensor& required_counterpart(const ModelTensor& tensor, const SourceModel& file, const SourceModel& other) {
  const ModelTensor* const found = counterpart(tensor, other);
  if (found == nullptr)
    refuse(file, other,
           fmt::format("only the first has '{}' {}", tensor.name(file.spelling()), shape_text(tensor.shape)));
  return *found;
}

// Keys of config.json that the two would have with other values.
std::vector<std::string> differing_keys(const ModelConfig& file, const ModelConfig& other) {
  using Json = nlohmann::ordered_json;
  std::vector<std::string> sentences;
  const Json mine = parse_json(to_huggingface_config(file, {}), "config.json").flatten(),
             theirs = parse_json(to_huggingface_config(other, {}), "config.json").flatten();
  const auto text = [](const Json& values, const std::string& key) {
    const auto found = values.find(key);
    return found == values.end() ? std::string("nothing") : found->dump();
  };
  for (const auto& [key, value] : mine.items())
    if (const auto found = theirs.find(key); found == theirs.end() || *found != value)
      sentences.push_back(fmt::format("{} is {} and {}", key.substr(1), value.dump(), text(theirs, key)));
  for (const auto& [key, value] : theirs.items())
    if (!mine.contains(key)) sentences.push_back(fmt::format("{} is nothing and {}", key.substr(1), value.dump()));
  return sentences;
}

}  // namespace

NumbersComparison compare_numbers(const SourceModel& file, const SourceModel& other, ThreadPool& pool,
                                  const ProgressCallback& progress) {
  if (!is_same_network(file.config(), other.config())) refuse(file, other, "their configurations differ");
  if (file.parts().all().size() != other.parts().all().size())
    refuse(file, other,
           fmt::format("they have {} and {} tensors", file.parts().all().size(), other.parts().all().size()));
  std::uint64_t work = 0;
  for (const ModelTensor& tensor : file.parts().all()) work += checked_elements(tensor.shape, tensor.part);
  ProgressMeter meter(progress, "compare", work);
  NumbersComparison result;
  result.configuration = differing_keys(file.config(), other.config());
  for (const ModelTensor& tensor : file.parts().all()) {
    TensorDifference difference =
        measure_difference(tensor, file, required_counterpart(tensor, file, other), other, pool);
    ++result.tensors;
    result.numbers += difference.numbers;
    const bool is_matrix = tensor.shape.size() > 1;
    if (is_matrix && difference.changed == 0 && difference.format != difference.other_format) ++result.recoded;
    meter.advance(difference.numbers, difference.name);
    if (difference.changed != 0) result.differing.push_back(std::move(difference));
  }
  return result;
}

}  // namespace nibble
