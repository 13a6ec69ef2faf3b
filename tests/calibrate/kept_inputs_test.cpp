// SPDX-License-Identifier: Apache-2.0
#include "calibrate/kept_inputs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace nibble {
namespace {

constexpr std::size_t kLength = 5, kWidth = 200;

std::vector<float> numbers(std::uint64_t seed) {
  Random random(seed);
  std::vector<float> x(kLength * kWidth);
  for (float& value : x) value = static_cast<float>(random.normal());
  std::fill_n(x.begin() + kWidth, kWidth, 0.0F);  // a token of zeros
  return x;
}

class KeptInputsIn : public testing::TestWithParam<const char*> {};  // a directory; empty: memory

TEST_P(KeptInputsIn, GivesBackWhatWasRoundedToHalfAStep) {
  ThreadPool one(1), three(3);
  KeptInputs kept(3, kLength, kWidth, {ActivationGrain::run}, Isa::scalar, GetParam());
  const std::vector<float> original = numbers(1);
  std::vector<float> x = original, y = numbers(2);
  EXPECT_FALSE(kept.has(1));
  kept.put(1, x.data(), one);
  kept.put(2, y.data(), three);
  EXPECT_TRUE(kept.has(1));
  EXPECT_FALSE(kept.has(0));
  for (std::size_t t = 0; t < kLength; ++t)
    for (std::size_t first = 0; first < kWidth; first += 128) {
      const std::size_t count = std::min<std::size_t>(128, kWidth - first);
      float peak = 0;
      for (std::size_t i = 0; i < count; ++i) peak = std::max(peak, std::fabs(original[t * kWidth + first + i]));
      for (std::size_t i = 0; i < count; ++i)
        EXPECT_NEAR(x[t * kWidth + first + i], original[t * kWidth + first + i], peak / 254 * 1.0001F)
            << t << ", " << first + i;
    }
  std::vector<float> back(x.size());
  kept.get(1, back.data(), three);
  EXPECT_EQ(back, x);
  kept.get(2, back.data(), one);
  EXPECT_EQ(back, y);
  kept.forget();
  EXPECT_FALSE(kept.has(1));
}

TEST_P(KeptInputsIn, KeepsWideColumnsBesideTheRest) {
  ThreadPool pool(2);
  KeptInputs kept(1, kLength, kWidth, {.wide = WideColumns::few}, Isa::scalar, GetParam());
  std::vector<float> original = numbers(1);
  for (std::size_t t = 0; t < kLength; ++t) original[t * kWidth + 17 + 30 * t] = -90;
  std::vector<float> x = original;
  kept.put(0, x.data(), pool);
  // The mean magnitude of normal numbers is 0.8; eight times that is the largest code's worth, but for a hundred and
  // twenty-eighth of -90.
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], original[i], 8 * 1.1F / 254) << i;
  std::vector<float> back(x.size());
  kept.get(0, back.data(), pool);
  EXPECT_EQ(back, x);
}

INSTANTIATE_TEST_SUITE_P(Places, KeptInputsIn, testing::Values("", "."));

}  // namespace
}  // namespace nibble
