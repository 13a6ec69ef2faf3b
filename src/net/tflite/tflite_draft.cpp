// SPDX-License-Identifier: Apache-2.0
#include "net/tflite/tflite_draft.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "io/tflite/tflite_codes.h"

namespace nibble {
namespace {

template <class T>
std::string bytes_of(std::span<const T> numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()};
}

}  // namespace

std::string TfliteDraft::free_name(const std::string& wanted) {
  std::string name = wanted;
  for (std::size_t i = 1; !names_.insert(name).second; ++i) name = fmt::format("{}_{}", wanted, i);
  return name;
}

int TfliteDraft::value(const std::string& name, const Extents& shape, TfliteType type) {
  TfliteTensor& tensor = model_.tensors.emplace_back();
  tensor.name = free_name(name);
  tensor.type = type;
  tensor.shape = shape;
  return static_cast<int>(model_.tensors.size()) - 1;
}

int TfliteDraft::value(const std::string& name, const Extents& shape, const TfliteKind& kind) {
  const int made = value(name, shape, kind.is_coded() ? TfliteType::i8 : TfliteType::f32);
  if (kind.is_coded()) {
    model_.tensors.back().scales = {kind.grid->scale};
    model_.tensors.back().zeros = {kind.grid->zero};
  }
  return made;
}

int TfliteDraft::constant(TfliteTensor tensor, std::string bytes) {
  const std::string key =
      fmt::format("{}/{}/{}/", tensor.name, static_cast<int>(tensor.type), fmt::join(tensor.shape, "x")) + bytes;
  if (const auto known = constants_.find(key); known != constants_.end()) return known->second;
  tensor.name = free_name(tensor.name);
  model_.kept.push_back(std::make_shared<const std::string>(std::move(bytes)));
  tensor.bytes = std::as_bytes(std::span(*model_.kept.back()));
  model_.tensors.push_back(std::move(tensor));
  return constants_[key] = static_cast<int>(model_.tensors.size()) - 1;
}

int TfliteDraft::numbers(const std::string& name, std::span<const float> numbers, const Extents& shape) {
  TfliteTensor tensor;
  tensor.name = name;
  tensor.shape = shape;
  return constant(std::move(tensor), bytes_of(numbers));
}

int TfliteDraft::whole_numbers(std::span<const std::uint64_t> numbers, const Extents& shape) {
  const std::vector<std::int32_t> stored(numbers.begin(), numbers.end());
  TfliteTensor tensor;
  tensor.name = fmt::format("[{}]", fmt::join(stored, ","));
  tensor.type = TfliteType::i32;
  tensor.shape = shape.empty() ? Extents{stored.size()} : shape;
  return constant(std::move(tensor), bytes_of(std::span(stored)));
}

int TfliteDraft::codes(const std::string& name, std::span<const std::int8_t> codes, const Extents& shape,
                       std::span<const float> scales, std::uint64_t dimension, std::int32_t zero) {
  TfliteTensor tensor;
  tensor.name = name;
  tensor.type = TfliteType::i8;
  tensor.shape = shape;
  tensor.scales.assign(scales.begin(), scales.end());
  tensor.zeros.assign(scales.size(), zero);
  tensor.dimension = dimension;
  return constant(std::move(tensor), bytes_of(codes));
}

int TfliteDraft::biases(const std::string& name, std::span<const std::int32_t> biases, std::span<const float> scales) {
  TfliteTensor tensor;
  tensor.name = name;
  tensor.type = TfliteType::i32;
  tensor.shape = {biases.size()};
  tensor.scales.assign(scales.begin(), scales.end());
  tensor.zeros.assign(scales.size(), 0);
  return constant(std::move(tensor), bytes_of(biases));
}

void TfliteDraft::add(int code, std::vector<int> inputs, int output, const TfliteOptions& options) {
  makers_[output] = model_.operators.size();
  TfliteOperator& op = model_.operators.emplace_back();
  op.code = code;
  op.inputs = std::move(inputs);
  op.outputs = {output};
  op.options = options;
}

int TfliteDraft::apply(int code, std::vector<int> inputs, const std::string& name, const Extents& shape,
                       const TfliteKind& kind, const TfliteOptions& options) {
  const int made = value(name, shape, kind);
  add(code, std::move(inputs), made, options);
  return made;
}

int TfliteDraft::reshape(int x, const Extents& shape, const std::string& name) {
  // Of what was only reshaped: its source.
  if (const auto maker = makers_.find(x);
      maker != makers_.end() && model_.operators[maker->second].code == tflite_code::kReshape)
    x = model_.operators[maker->second].inputs[0];
  return apply(tflite_code::kReshape, {x, whole_numbers(shape)}, name, shape, kind(x));
}

int TfliteDraft::transpose(int x, const std::vector<std::uint64_t>& order, const std::string& name) {
  const Extents from = tensor(x).shape;
  Extents shape;
  std::vector<std::uint64_t> moved;  // those of more than one number
  for (const std::uint64_t one : order) {
    shape.push_back(from[one]);
    if (from[one] != 1) moved.push_back(one);
  }
  if (std::ranges::is_sorted(moved)) return reshape(x, shape, name);
  return apply(tflite_code::kTranspose, {x, whole_numbers(order)}, name, shape, kind(x));
}

TfliteKind TfliteDraft::kind(int index) const {
  const TfliteTensor& one = tensor(index);
  if (one.type != TfliteType::i8 || one.scales.size() != 1) return {};
  return {TfliteGrid{one.scales[0], static_cast<std::int32_t>(one.zeros[0])}};
}

void TfliteDraft::rename(int index, const std::string& name) {
  names_.erase(tensor(index).name);
  model_.tensors[static_cast<std::size_t>(index)].name = name;
}

TfliteModel TfliteDraft::finish() && {
  std::set<int> needed(model_.outputs.begin(), model_.outputs.end());
  std::vector<TfliteOperator> operators;
  for (auto op = model_.operators.rbegin(); op != model_.operators.rend(); ++op) {
    if (!needed.contains(op->outputs[0])) continue;
    needed.insert(op->inputs.begin(), op->inputs.end());
    operators.push_back(std::move(*op));
  }
  std::ranges::reverse(operators);
  needed.insert(model_.inputs.begin(), model_.inputs.end());
  TfliteModel made;
  std::vector<int> places(model_.tensors.size(), -1);
  for (std::size_t i = 0; i < model_.tensors.size(); ++i) {
    if (!needed.contains(static_cast<int>(i))) continue;
    places[i] = static_cast<int>(made.tensors.size());
    made.tensors.push_back(std::move(model_.tensors[i]));
  }
  const auto move_all = [&](std::vector<int>& tensors) {
    for (int& one : tensors)
      if (one >= 0) one = places[static_cast<std::size_t>(one)];
  };
  for (TfliteOperator& op : operators) {
    move_all(op.inputs);
    move_all(op.outputs);
  }
  made.operators = std::move(operators);
  made.inputs = std::move(model_.inputs);
  made.outputs = std::move(model_.outputs);
  move_all(made.inputs);
  move_all(made.outputs);
  made.kept = std::move(model_.kept);
  return made;
}

}  // namespace nibble
