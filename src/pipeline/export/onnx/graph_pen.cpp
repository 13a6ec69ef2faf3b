// SPDX-License-Identifier: Apache-2.0
#include "pipeline/export/onnx/graph_pen.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/half.h"

namespace nibble {
namespace {

template <class T>
void append(std::string& bytes, T value) {
  const std::size_t at = bytes.size();
  bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

}  // namespace

std::string GraphPen::add(const std::string& op, std::vector<std::string> inputs, std::vector<OnnxAttribute> attributes,
                          std::string_view domain, std::size_t num_outputs) {
  std::string name = scope_ + "/" + op;
  if (const std::size_t before = names_[name]++; before != 0) name += "_" + std::to_string(before);
  OnnxNode node{name, op, std::string(domain), std::move(inputs), {}, std::move(attributes)};
  const std::string first = name + "/output";
  for (std::size_t i = 0; i < num_outputs; ++i) node.outputs.push_back(output(first, i));
  if (!domain.empty()) model_.microsoft_opset = 1;
  model_.nodes.push_back(std::move(node));
  return first;
}

void GraphPen::leave_out(const std::string& output) {
  for (OnnxNode& node : model_.nodes)
    for (std::string& name : node.outputs)
      if (name == output) name.clear();
}

void GraphPen::rename(const std::string& value, const std::string& name) {
  for (OnnxNode& node : model_.nodes) {
    std::ranges::replace(node.inputs, value, name);
    std::ranges::replace(node.outputs, value, name);
  }
}

std::string GraphPen::constant(std::string name, OnnxType type, std::vector<std::uint64_t> dims, std::string bytes) {
  const auto [place, is_new] = constants_.emplace(name, name);
  if (is_new) model_.initializers.push_back({std::move(name), type, std::move(dims), std::move(bytes)});
  return place->second;
}

std::string GraphPen::integers(const std::vector<std::int64_t>& values) {
  std::string bytes;
  for (const std::int64_t value : values) append(bytes, value);
  return constant(fmt::format("/constants/i64/[{}]", fmt::join(values, ",")), OnnxType::i64, {values.size()},
                  std::move(bytes));
}

std::string GraphPen::integer(std::int64_t value) {
  std::string bytes;
  append(bytes, value);
  return constant(fmt::format("/constants/i64/{}", value), OnnxType::i64, {}, std::move(bytes));
}

std::string GraphPen::number(float value) {
  std::string bytes;
  type_ == OnnxType::f16 ? append(bytes, f32_to_f16(value)) : append(bytes, value);
  return constant(fmt::format("/constants/{}/{:.9g}", type_ == OnnxType::f16 ? "f16" : "f32", value), type_, {},
                  std::move(bytes));
}

std::string GraphPen::numbers(std::string name, std::vector<std::uint64_t> dims, std::span<const float> values) {
  std::string bytes;
  for (const float value : values) type_ == OnnxType::f16 ? append(bytes, f32_to_f16(value)) : append(bytes, value);
  return constant(std::move(name), type_, std::move(dims), std::move(bytes));
}

std::string GraphPen::cast(const std::string& value, OnnxType to) {
  return add("Cast", {value}, {{"to", static_cast<std::int64_t>(to)}});
}

}  // namespace nibble
