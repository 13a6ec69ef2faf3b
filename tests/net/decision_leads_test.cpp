// SPDX-License-Identifier: Apache-2.0
//
// How many decisions noise changes, by how near rows are to deciding otherwise.
#include "net/quantize/decision_leads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace nibble {
namespace {

TEST(DecisionLeads, AreOfTheLargestOverTheNext) {
  DecisionLeads leads(3, 0.5F);
  leads.add({{1, 4, 3, -2, -8, -1}, {5, 5, 0}});  // 1, 1 and 0
  EXPECT_EQ(leads.count(), 3u);
  EXPECT_EQ(leads.below(0), 0u);
  EXPECT_EQ(leads.below(0.5), 1u);
  EXPECT_EQ(leads.below(1), 1u);
  EXPECT_EQ(leads.below(1.5), 3u);
  // Noise that all numbers of a row share changes nothing; of the largest, 4, it is in both differences.
  EXPECT_EQ(leads.deviation({{2, 5, 4}}, {{1, 4, 3}}), 0);
  EXPECT_EQ(leads.deviation({{1, 6, 3}}, {{1, 4, 3}}), 2);
  EXPECT_EQ(leads.deviation({{1, 4, 5}}, {{1, 4, 3}}), std::sqrt(2.0));
}

TEST(DecisionLeads, OfOneNumberAreDistancesToTheThreshold) {
  DecisionLeads leads(1, 0.5F);
  leads.add({{0.75F, 0.25F}, {2}});
  EXPECT_EQ(leads.count(), 3u);
  EXPECT_EQ(leads.below(0.3), 2u);
  EXPECT_EQ(leads.deviation({{1, 2}}, {{1, 4}}), std::sqrt(2.0));
}

TEST(DecisionLeads, OfNothingAreNone) {
  DecisionLeads leads;
  leads.add({{1, 2, 3}});
  EXPECT_EQ(leads.count(), 0u);
  EXPECT_EQ(leads.deviation({{1, 2}}, {{1, 3}}), 0);
}

// Numbers are far wider than noise, so that leads lie evenly. Standard deviations of the two counts, which are those of
// independent rows: sqrt(changed), and kChangingOfNear * sqrt(near); four of both together are allowed.
TEST(DecisionLeads, ForetellWhatNoiseChanges) {
  constexpr std::size_t kRows = 100000;
  std::mt19937_64 generator(3);
  std::normal_distribution<float> number(0, 1), noise(0, 0.02F);
  for (const std::size_t width : {1u, 2u, 6u}) {
    SampleValues should(kRows), made(kRows);
    std::uint64_t changed = 0;
    for (std::size_t row = 0; row < kRows; ++row) {
      for (std::size_t i = 0; i < width; ++i) {
        should[row].push_back(number(generator));
        made[row].push_back(should[row].back() + noise(generator));
      }
      const auto choice = [&](const std::vector<float>& x) {
        return width == 1 ? std::ptrdiff_t{x[0] > 0.5F} : std::ranges::max_element(x) - x.begin();
      };
      changed += choice(made[row]) != choice(should[row]) ? 1 : 0;
    }
    DecisionLeads leads(width, 0.5F);
    leads.add(should);
    const auto near = static_cast<double>(leads.below(kNear * leads.deviation(made, should)));
    const auto count = static_cast<double>(changed);
    EXPECT_GT(count, 300);
    const double spread = std::sqrt(count) + kChangingOfNear * std::sqrt(near);
    EXPECT_NEAR(kChangingOfNear * near, count, 4 * spread) << width;
  }
}

}  // namespace
}  // namespace nibble
