// SPDX-License-Identifier: Apache-2.0
#include "net/number_type.h"

namespace nibble {

std::string_view number_type_name(NumberType type) {
  constexpr std::string_view kNames[] = {"f32", "f16", "bf16", "f64", "i4",  "u4",  "i8",  "u8",
                                         "i16", "u16", "i32",  "u32", "i64", "u64", "bool"};
  return kNames[static_cast<std::size_t>(type)];
}

WholeRange whole_range(NumberType type) {
  switch (type) {
    case NumberType::i4:
      return {-8, 7};
    case NumberType::u4:
      return {0, 15};
    case NumberType::i8:
      return {-128, 127};
    case NumberType::u8:
      return {0, 255};
    case NumberType::i16:
      return {-32768, 32767};
    case NumberType::u16:
      return {0, 65535};
    case NumberType::i32:
      return {-2147483648.0, 2147483647.0};
    case NumberType::u32:
      return {0, 4294967295.0};
    case NumberType::u64:
      return {0, 18446744073709549568.0};
    case NumberType::truth:
      return {0, 1};
    default:
      return {-9223372036854775808.0, 9223372036854774784.0};
  }
}

}  // namespace nibble
