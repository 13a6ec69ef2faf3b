// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include "nibble/error.h"

namespace nibble {
namespace {

TEST(Tensor, ElementsAreCountedWithoutOverflow) {
  EXPECT_EQ(checked_elements({}, "t"), 1u);
  EXPECT_EQ(checked_elements({3, 4}, "t"), 12u);
  EXPECT_EQ(checked_elements({3, 0, 4}, "t"), 0u);
  EXPECT_EQ(checked_elements({std::uint64_t{1} << 62, 1}, "t"), std::uint64_t{1} << 62);
  EXPECT_THROW(checked_elements({std::uint64_t{1} << 62, 4}, "t"), Error);
  EXPECT_THROW(checked_elements({std::uint64_t{1} << 63}, "t"), Error);
  EXPECT_EQ(shape_text({2, 3}), "[2, 3]");
}

TEST(Tensor, DTypeNamesRoundTrip) {
  int count = 0;
  for (int i = 0; i < 64; ++i) {
    const auto type = static_cast<DType>(i);
    if (dtype_size(type) == 0) break;
    EXPECT_EQ(parse_dtype(dtype_name(type)), type);
    ++count;
  }
  EXPECT_EQ(count, 16);
  EXPECT_FALSE(parse_dtype("F7"));
}

TEST(Tensor, WidensEveryFloatingType) {
  const auto widened = [](DType type, const void* data, std::size_t bytes) {
    float out = 0;
    widen_to_f32(type, {static_cast<const std::byte*>(data), bytes}, {&out, 1});
    return out;
  };
  const float f = -1.5f;
  const double d = -1.5;
  const std::uint16_t half = 0xbe00, brain = 0xbfc0;
  EXPECT_EQ(widened(DType::f32, &f, 4), -1.5f);
  EXPECT_EQ(widened(DType::f64, &d, 8), -1.5f);
  EXPECT_EQ(widened(DType::f16, &half, 2), -1.5f);
  EXPECT_EQ(widened(DType::bf16, &brain, 2), -1.5f);
  EXPECT_THROW(widened(DType::i32, &f, 4), Error);
}

}  // namespace
}  // namespace nibble
