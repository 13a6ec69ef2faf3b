// SPDX-License-Identifier: Apache-2.0
//
// Batches that do not fit into memory: said before the first step, with one that would.
#include "pipeline/train/fitting_batch.h"

#include <gtest/gtest.h>

#include "pipeline/models.h"

namespace nibble {
namespace {

constexpr std::uint64_t kModel = 1000;

// 10 bytes a token.
std::uint64_t bytes_of(const BatchSettings& batch) { return kModel + 10 * batch.size * batch.length; }

TEST(FittingBatch, IsTheLargestThatFits) {
  const BatchSettings asked{.size = 50, .length = 64, .seed = 9};
  for (const std::uint64_t rows : {1u, 7u, 49u}) {
    const auto fits = fitting_batch(asked, kModel + rows * 640 + 639, bytes_of);
    ASSERT_TRUE(fits);
    EXPECT_EQ(fits->size, rows);
    EXPECT_EQ(fits->length, 64u);
    EXPECT_EQ(fits->seed, 9u);
  }
  EXPECT_EQ(fitting_batch(asked, bytes_of(asked), bytes_of)->size, 50u);
  // Not even one row of this length.
  const auto shorter = fitting_batch(asked, kModel + 639, bytes_of);
  ASSERT_TRUE(shorter);
  EXPECT_EQ(shorter->size, 1u);
  EXPECT_EQ(shorter->length, 32u);
  EXPECT_FALSE(fitting_batch(asked, kModel, bytes_of));
}

TEST(FittingBatch, IsNamedInTheRefusal) {
  const BatchSettings asked{.size = 8, .length = 64};
  const auto refusal = [&](std::uint64_t available) {
    return error_of([&] { require_batch_memory(asked, available, bytes_of, "numbers"); });
  };
  EXPECT_EQ(refusal(bytes_of(asked)), "no error");
  EXPECT_EQ(refusal(kModel + 3 * 640),
            "training takes more memory than there is; batches of 3 rows would fit: numbers");
  EXPECT_EQ(refusal(kModel + 320),
            "training takes more memory than there is; a row of 32 tokens at a time would fit: numbers");
  EXPECT_EQ(refusal(kModel), "training takes more memory than there is, whatever the batches: numbers");
}

}  // namespace
}  // namespace nibble
