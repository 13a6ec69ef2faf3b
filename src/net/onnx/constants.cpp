// SPDX-License-Identifier: Apache-2.0
#include "net/onnx/constants.h"

#include <fmt/format.h>

#include <cstring>

#include "base/half.h"
#include "io/checkpoint_parts.h"
#include "io/message_text.h"
#include "net/onnx/node_view.h"
#include "nibble/error.h"

namespace nibble {
namespace {

[[noreturn]] void corrupt(const std::string& where, const std::string& why) {
  throw Error(ErrorKind::corrupt, fmt::format("{}: {}", where, why));
}

template <class Stored, class Made, class Convert>
void unpack(std::span<const std::byte> bytes, std::vector<Made>& made, Convert convert) {
  made.reserve(bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i + sizeof(Stored) <= bytes.size(); i += sizeof(Stored)) {
    Stored stored;
    std::memcpy(&stored, &bytes[i], sizeof stored);
    made.push_back(static_cast<Made>(convert(stored)));
  }
}

// Two to a byte, the low half first.
void unpack_halves(std::span<const std::byte> bytes, std::uint64_t count, bool is_signed,
                   std::vector<std::int64_t>& made) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const int code = (std::to_integer<int>(bytes[i / 2]) >> (i % 2 * 4)) & 15;
    made.push_back(is_signed && code > 7 ? code - 16 : code);
  }
}

}  // namespace

std::span<const std::byte> OnnxConstants::bytes_of(const OnnxInitializer& initializer, const std::string& where) {
  if (!initializer.external) return std::as_bytes(std::span(initializer.bytes));
  const auto& [location, offset, length] = *initializer.external;
  if (!is_plain_file_name(location))
    corrupt(where, fmt::format("lies outside the model's directory: {}", quote_name(location)));
  auto file = files_.find(location);
  if (file == files_.end()) file = files_.emplace(location, MappedFile(directory_ / location)).first;
  const std::span<const std::byte> bytes = file->second.bytes();
  const std::uint64_t expected = initializer_bytes(initializer).value_or(0);
  const std::uint64_t wanted = length == 0 ? expected : length;
  if (offset > bytes.size() || wanted > bytes.size() - offset)
    corrupt(where, fmt::format("reaches beyond the end of {}, {} bytes", quote_name(location), bytes.size()));
  return bytes.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(wanted));
}

NetConstant OnnxConstants::read(const OnnxInitializer& initializer, const std::string& where) {
  NetConstant made{number_type_of(initializer.type, where), initializer.dims};
  const auto expected = initializer_bytes(initializer);
  const std::span<const std::byte> bytes = bytes_of(initializer, where);
  std::uint64_t count = 1;
  for (const std::uint64_t extent : made.extents) {
    if (extent != 0 && count > kMostNumbers / extent) corrupt(where, "has more numbers than a small net has");
    count *= extent;
  }
  // Halves of bytes that stand in whole ones, as in a field of their own.
  const bool is_spread = onnx_type_bits(initializer.type) == 4 && bytes.size() == count && count > 1;
  if (!expected || (bytes.size() != *expected && !is_spread))
    corrupt(where, fmt::format("should have {} bytes: {}", expected.value_or(0), bytes.size()));
  const auto same = [](auto x) { return x; };
  switch (made.type) {
    case NumberType::f32:
      unpack<float>(bytes, made.numbers, same);
      break;
    case NumberType::f16:
      unpack<std::uint16_t>(bytes, made.numbers, f16_to_f32);
      break;
    case NumberType::bf16:
      unpack<std::uint16_t>(bytes, made.numbers, bf16_to_f32);
      break;
    case NumberType::f64:
      unpack<double>(bytes, made.numbers, same);
      break;
    case NumberType::i4:
    case NumberType::u4:
      if (is_spread)
        unpack<std::int8_t>(bytes, made.integers, same);
      else
        unpack_halves(bytes, count, made.type == NumberType::i4, made.integers);
      break;
    case NumberType::i8:
      unpack<std::int8_t>(bytes, made.integers, same);
      break;
    case NumberType::u8:
    case NumberType::truth:
      unpack<std::uint8_t>(bytes, made.integers, same);
      break;
    case NumberType::i16:
      unpack<std::int16_t>(bytes, made.integers, same);
      break;
    case NumberType::u16:
      unpack<std::uint16_t>(bytes, made.integers, same);
      break;
    case NumberType::i32:
      unpack<std::int32_t>(bytes, made.integers, same);
      break;
    case NumberType::u32:
      unpack<std::uint32_t>(bytes, made.integers, same);
      break;
    case NumberType::i64:
    case NumberType::u64:
      unpack<std::int64_t>(bytes, made.integers, same);
      break;
  }
  return made;
}

NetConstant OnnxConstants::read_node(const OnnxNode& node, const std::string& where) {
  if (const auto* const tensor = node.find<OnnxInitializer>("value")) return read(*tensor, where);
  if (const auto* const number = node.find<float>("value_float")) return {NumberType::f32, {}, {*number}};
  if (const auto* const number = node.integer("value_int")) return {NumberType::i64, {}, {}, {*number}};
  if (const auto* const numbers = node.find<std::vector<float>>("value_floats"))
    return {NumberType::f32, {numbers->size()}, *numbers};
  if (const auto* const numbers = node.find<std::vector<std::int64_t>>("value_ints"))
    return {NumberType::i64, {numbers->size()}, {}, *numbers};
  throw Error(ErrorKind::unsupported,
              fmt::format("{}: a constant that is neither numbers nor a tensor of them", where));
}

}  // namespace nibble
