// SPDX-License-Identifier: Apache-2.0
//
// When losses say that a run of training has lost what it knew, and when they do not. A vocabulary of 4096: guessing
// costs 8.318.
#include "train/astray.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nibble {
namespace {

const double kGuessing = std::log(4096.0);

// As a run of at most 200 steps has them.
std::vector<LossPoint> steps(const std::vector<double>& losses) {
  std::vector<LossPoint> points;
  for (const double loss : losses) points.push_back({points.size() + 1, loss});
  return points;
}

std::string judged(std::vector<LossPoint> training, std::vector<LossPoint> held_out) {
  return astray_where_judged({kGuessing, std::move(training), std::move(held_out)});
}

TEST(Astray, HeldOutTextIsComparedWithItself) {
  // Little text learnt from nothing: held-out text does not follow, and gets better all the same.
  EXPECT_EQ(judged({{50, 4.1}, {100, 1.4}}, {{50, 6.813}, {100, 6.587}}), "");
  // A model judged by text that it does not know.
  EXPECT_EQ(judged(steps({1.421, 1.4}), {{0, 11.52}, {2, 11.48}}), "");
  // Text learnt by heart.
  EXPECT_EQ(judged({{50, 4.1}, {100, 1.4}, {150, 0.2}}, {{50, 5.0}, {100, 6.2}, {150, 9.5}}), "");
  // One text is forgotten over another.
  EXPECT_EQ(judged({{50, 7.0}, {100, 3.4}}, {{0, 1.4}, {50, 4.0}, {100, 5.9}}), "");
}

TEST(Astray, BothTextsMustBeLost) {
  const std::string told = judged({{50, 4.0}, {100, 3.0}, {150, 7.9}}, {{50, 4.2}, {100, 3.3}, {150, 8.1}});
  EXPECT_EQ(told,
            "the loss of the held-out text was 3.3 in step 100, is 8.1 in step 150, that of the text that is learnt "
            "from was 3 at least, is 7.9, and guessing would have 8.318");
  // From the first step on, which the beginning alone tells; what a teacher says is known from the beginning.
  EXPECT_NE(judged(steps({1.4, 7.9, 8.0}), {{0, 1.3}, {3, 8.2}}), "");
  EXPECT_NE(judged(steps({0.0, 6.0, 7.0}), {{0, 0.0}, {3, 6.1}}), "");
  // What never knew more than a guess is far above one.
  EXPECT_EQ(judged(steps({8.3, 9.0, 12.0}), {{3, 12.0}}), "");
  EXPECT_NE(judged(steps({8.3, 19.0, 19.0}), {{3, 18.0}}), "");
  // Points that lie farther apart than judgements do.
  EXPECT_NE(judged({{1000, 3.0}, {2000, 7.9}}, {{1900, 3.3}, {2000, 8.1}}), "");
  EXPECT_EQ(judged({}, {{1, 30.0}}), "");
}

TEST(Astray, SingleBatchesDoNotTell) {
  // Stories and code, a row at a time.
  EXPECT_EQ(astray_by_training({kGuessing, steps({1.5, 11.9, 1.198, 1.6, 11.7, 11.93}), {}}), "");
  std::vector<double> mixed;
  for (std::size_t i = 0; i < 160; ++i) mixed.push_back(i * i % 7 < 2 ? 11.9 : 1.2);
  mixed.push_back(11.9);
  EXPECT_EQ(astray_by_training({kGuessing, steps(mixed), {}}), "");
  std::vector<double> grown(130, 3.0);
  for (std::size_t i = 90; i < 130; ++i) grown[i] = 8.0;
  EXPECT_EQ(astray_by_training({kGuessing, steps(grown), {}}),
            "the mean loss of a quarter of the steps was 3 up to step 34, is 8 in the end, and guessing would have "
            "8.318");
  grown.resize(127);
  EXPECT_EQ(astray_by_training({kGuessing, steps(grown), {}}), "");
}

}  // namespace
}  // namespace nibble
