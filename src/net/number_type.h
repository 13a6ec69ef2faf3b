// SPDX-License-Identifier: Apache-2.0
//
// What kind of numbers a file says that a value has. A net computes all of them in f32, which holds truths, codes of up
// to 16 bits and small whole numbers exactly; the kind says how results are stored and how whole numbers divide.
#pragma once

#include <cstdint>
#include <string_view>

namespace nibble {

enum class NumberType { f32, f16, bf16, f64, i4, u4, i8, u8, i16, u16, i32, u32, i64, u64, truth };

std::string_view number_type_name(NumberType type);
inline bool is_floating(NumberType type) {
  return type == NumberType::f32 || type == NumberType::f16 || type == NumberType::bf16 || type == NumberType::f64;
}
// The least and the largest whole number of a type, as far as f64 holds them.
struct WholeRange {
  double low, high;
};
WholeRange whole_range(NumberType type);

}  // namespace nibble
