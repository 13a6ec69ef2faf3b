// SPDX-License-Identifier: Apache-2.0
#include "io/onnx/tensor_list.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_set>

#include "io/json_text.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {

using Json = nlohmann::ordered_json;

std::string write_onnx_tensor_list(const std::vector<PlannedTensor>& plan, const std::vector<OnnxPlace>& places) {
  Json list = Json::array();
  for (std::size_t i = 0; i < plan.size(); ++i) {
    list.push_back(
        {{"name", plan[i].name}, {"shape", plan[i].shape}, {"values", places[i].values}, {"first", places[i].first}});
    if (places[i].step != 1) list.back()["step"] = places[i].step;
  }
  return list.dump();
}

std::vector<OnnxTensor> read_onnx_tensor_list(const std::string& text, const std::string& source) {
  const std::string where = fmt::format("{}: {}", source, kOnnxTensorsKey);
  const Json list = parse_json(text, where);
  const auto refuse = [&](std::size_t index) {
    throw Error(ErrorKind::corrupt, fmt::format("{}: entry {} is no tensor", where, index));
  };
  const auto is_number = [](const Json& json) { return json.is_number_integer() && json.get<std::int64_t>() >= 0; };
  std::vector<OnnxTensor> tensors;
  std::unordered_set<std::string> names;
  if (!list.is_array()) refuse(0);
  for (const Json& item : list) {
    const std::size_t index = tensors.size();
    for (const char* const key : {"name", "values"})
      if (!item.is_object() || !item.contains(key) || !item[key].is_string()) refuse(index);
    if (!item.contains("shape") || !item["shape"].is_array() || !item.contains("first") || !is_number(item["first"]))
      refuse(index);
    OnnxTensor& tensor = tensors.emplace_back();
    tensor.name = item["name"].get<std::string>();
    tensor.values = item["values"].get<std::string>();
    tensor.first = item["first"].get<std::uint64_t>();
    if (const auto step = item.find("step"); step != item.end()) {
      if (!is_number(*step) || *step == 0) refuse(index);
      tensor.step = step->get<std::uint64_t>();
    }
    for (const Json& extent : item["shape"]) {
      if (!is_number(extent)) refuse(index);
      tensor.shape.push_back(extent.get<std::uint64_t>());
    }
    if (tensor.name.empty() || !names.insert(tensor.name).second)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: entry {} has no name of its own: {}", where, index, quote_name(tensor.name)));
    checked_elements(tensor.shape, fmt::format("{}: tensor {}", where, quote_name(tensor.name)));
  }
  return tensors;
}

}  // namespace nibble
