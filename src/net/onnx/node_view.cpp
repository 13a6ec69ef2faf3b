// SPDX-License-Identifier: Apache-2.0
#include "net/onnx/node_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "nibble/error.h"

namespace nibble {

NumberType number_type_of(OnnxType type, const std::string& where) {
  switch (type) {
    case OnnxType::f32:
      return NumberType::f32;
    case OnnxType::f16:
      return NumberType::f16;
    case OnnxType::bf16:
      return NumberType::bf16;
    case OnnxType::f64:
      return NumberType::f64;
    case OnnxType::i4:
      return NumberType::i4;
    case OnnxType::u4:
      return NumberType::u4;
    case OnnxType::i8:
      return NumberType::i8;
    case OnnxType::u8:
      return NumberType::u8;
    case OnnxType::i16:
      return NumberType::i16;
    case OnnxType::u16:
      return NumberType::u16;
    case OnnxType::i32:
      return NumberType::i32;
    case OnnxType::u32:
      return NumberType::u32;
    case OnnxType::i64:
      return NumberType::i64;
    case OnnxType::u64:
      return NumberType::u64;
    case OnnxType::boolean:
      return NumberType::truth;
    default:
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: elements of a type that is not read: {}", where, static_cast<int>(type)));
  }
}

void NodeView::damaged(std::string_view why) const {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {}", where_, why));
}

void NodeView::refuse(std::string_view why) const {
  throw Error(ErrorKind::unsupported, fmt::format("{}: {}", where_, why));
}

const NetValue& NodeView::in(std::size_t input) const {
  if (!has(input)) damaged(fmt::format("its input {} is missing", input));
  return *inputs_[input];
}

const NetValue& NodeView::constant(std::size_t input) const {
  const NetValue& value = in(input);
  if (!value.is_constant())
    refuse(fmt::format("its input {} is known only when the net runs: {}", input, node_.inputs[input]));
  return value;
}

std::vector<std::int64_t> NodeView::whole_numbers(std::size_t input) const {
  const NetConstant& value = *constant(input).constant;
  if (is_floating(value.type)) damaged(fmt::format("its input {} is not of whole numbers", input));
  return value.integers;
}

std::vector<float> NodeView::numbers(std::size_t input) const {
  return NetPen::numbers_of_constant(*constant(input).constant);
}

float NodeView::single(std::size_t input) const {
  const std::vector<float> all = numbers(input);
  if (all.size() != 1) damaged(fmt::format("its input {} is not one number", input));
  return all[0];
}

void NodeView::out(NetValue value, std::size_t output) {
  if (output >= outputs_.size()) return;
  outputs_[output] = std::move(value);
}

std::int64_t NodeView::whole(std::string_view attribute, std::int64_t otherwise, std::int64_t low,
                             std::int64_t high) const {
  const std::int64_t* const value = node_.integer(attribute);
  if (value == nullptr) return otherwise;
  if (*value < low || *value > high)
    damaged(fmt::format("its {} is not within {} .. {}: {}", attribute, low, high, *value));
  return *value;
}

float NodeView::number(std::string_view attribute, float otherwise) const {
  const float* const value = node_.find<float>(attribute);
  return value == nullptr ? otherwise : *value;
}

std::string NodeView::text(std::string_view attribute, const std::string& otherwise) const {
  const std::string* const value = node_.find<std::string>(attribute);
  return value == nullptr ? otherwise : *value;
}

std::optional<std::vector<std::int64_t>> NodeView::wholes(std::string_view attribute) const {
  const auto* const value = node_.find<std::vector<std::int64_t>>(attribute);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<std::vector<float>> NodeView::floats(std::string_view attribute) const {
  const auto* const value = node_.find<std::vector<float>>(attribute);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::uint64_t NodeView::axis(std::int64_t axis, std::size_t rank, bool one_behind) const {
  const auto dimensions = static_cast<std::int64_t>(rank) + (one_behind ? 1 : 0);
  const std::int64_t counted = axis < 0 ? axis + (one_behind ? static_cast<std::int64_t>(rank) : dimensions) : axis;
  if (counted < 0 || counted >= dimensions)
    damaged(fmt::format("a value of {} dimensions has none of the number {}", rank, axis));
  return static_cast<std::uint64_t>(counted);
}

std::uint64_t NodeView::axis(std::string_view attribute, std::int64_t otherwise, std::size_t rank,
                             bool one_behind) const {
  return axis(whole(attribute, otherwise, -64, 64), rank, one_behind);
}

std::optional<std::vector<std::uint64_t>> NodeView::axes(std::int64_t since, std::size_t input,
                                                         std::size_t rank) const {
  std::optional<std::vector<std::int64_t>> said;
  if (opset_ < since)
    said = wholes("axes");
  else if (has(input))
    said = whole_numbers(input);
  if (!said) return std::nullopt;
  std::vector<std::uint64_t> found;
  for (const std::int64_t one : *said) found.push_back(axis(one, rank));
  std::ranges::sort(found);
  if (std::ranges::adjacent_find(found) != found.end()) damaged("a dimension is named twice");
  return found;
}

std::string NodeView::part_name(std::size_t input) const {
  if (input < node_.inputs.size() && !node_.inputs[input].empty()) return node_.inputs[input];
  return node_.outputs.empty() ? node_.name : node_.outputs[0];
}

}  // namespace nibble
