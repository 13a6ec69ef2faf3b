// SPDX-License-Identifier: Apache-2.0
#include "format/reordered_columns.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/thread_pool.h"

namespace nibble {
namespace {

TEST(ReorderedColumns, ReadTheSourcesColumnsInAnotherOrder) {
  constexpr std::uint64_t kRows = 70;
  QuantizedTensor tensor(find_raw_format(DType::f32), kRows, 3);
  std::vector<float> values;
  for (std::uint64_t i = 0; i < kRows * 3; ++i) values.push_back(static_cast<float>(i));
  std::memcpy(tensor.planes[0].data(), values.data(), values.size() * sizeof(float));
  const TensorSource moved = reordered_columns(tensor.view(), {2, 0, 1});
  EXPECT_EQ(moved.format()->name(), "f32");
  const std::vector<float> found = moved.decode();
  ASSERT_EQ(found.size(), values.size());
  for (std::uint64_t row = 0; row < kRows; ++row) {
    EXPECT_EQ(found[row * 3], values[row * 3 + 2]);
    EXPECT_EQ(found[row * 3 + 1], values[row * 3]);
    EXPECT_EQ(found[row * 3 + 2], values[row * 3 + 1]);
  }
  ThreadPool pool(3);
  QuantizedTensor room;
  std::vector<float> row(3);
  moved.slice(5, 60).read_rows(1, 59, room, pool).decode_row(40, row);
  EXPECT_EQ(row, (std::vector<float>{45 * 3 + 2, 45 * 3, 45 * 3 + 1}));
}

}  // namespace
}  // namespace nibble
