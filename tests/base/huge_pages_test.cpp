// SPDX-License-Identifier: Apache-2.0
#include "base/huge_pages.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace nibble {
namespace {

TEST(HugePages, VectorsAreZerosWhateverTheirSize) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{3}, (std::size_t{8} << 20) / sizeof(float) + 1}) {
    const std::vector<float> values = large_vector(size);
    EXPECT_EQ(values.size(), size);
    EXPECT_TRUE(std::ranges::all_of(values, [](float value) { return value == 0; }));
  }
}

TEST(HugePages, AskingLeavesWhatIsThere) {
  std::vector<float> values(std::size_t{4} << 20, 1.5F);
  ask_for_huge_pages(&values[1], (values.size() - 1) * sizeof(float));
  EXPECT_TRUE(std::ranges::all_of(values, [](float value) { return value == 1.5F; }));
}

}  // namespace
}  // namespace nibble
