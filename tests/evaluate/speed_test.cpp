// SPDX-License-Identifier: Apache-2.0
#include "evaluate/speed.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

TEST(Speed, MedianAndDeviation) {
  Speed odd;
  odd.samples = {30, 10, 20};
  summarise_samples(odd);
  EXPECT_EQ(odd.tokens_per_second, 20);
  EXPECT_DOUBLE_EQ(odd.spread, 10);
  Speed even;
  even.samples = {4, 1, 2, 3};
  summarise_samples(even);
  EXPECT_EQ(even.tokens_per_second, 2.5);
  Speed one;
  one.samples = {7};
  summarise_samples(one);
  EXPECT_EQ(one.spread, 0);
}

TEST(Speed, RunsWhatWasAskedFor) {
  Machine machine(chosen_isa(), 1);
  Decoder decoder(SourceModel::open(data_directory() / "tiny_tied"), exact_options(), machine);
  const std::vector<Speed> both =
      measure_speed(decoder, {.prompt_tokens = 16, .generated_tokens = 4, .repetitions = 3});
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].test, "pp16");
  EXPECT_EQ(both[1].test, "tg4");
  EXPECT_EQ(both[1].samples.size(), 3u);
  EXPECT_GT(both[0].tokens_per_second, 0);
  EXPECT_EQ(measure_speed(decoder, {.prompt_tokens = 0, .generated_tokens = 4, .repetitions = 1}).size(), 1u);
  const std::vector<Speed> batched =
      measure_speed(decoder, {.prompt_tokens = 0, .generated_tokens = 4, .sequences = 3, .repetitions = 2});
  ASSERT_EQ(batched.size(), 2u);
  EXPECT_EQ(batched[1].test, "tg4x3");
  EXPECT_EQ(batched[1].tokens, 12u);
  EXPECT_EQ(batched[1].sequences, 3u);
  const std::vector<Speed> deep =
      measure_speed(decoder, {.prompt_tokens = 8, .generated_tokens = 4, .depth = 70, .repetitions = 2});
  ASSERT_EQ(deep.size(), 2u);
  EXPECT_EQ(deep[0].test, "pp8 @ d70");
  EXPECT_EQ(deep[1].test, "tg4 @ d70");
  EXPECT_EQ(error_of([&] { measure_speed(decoder, {.sequences = 0}); }).first, ErrorKind::invalid_argument);
  EXPECT_EQ(error_of([&] { measure_speed(decoder, {.repetitions = 0}); }).first, ErrorKind::invalid_argument);
}

// A joule each time that somebody looks: before and after a run.
TEST(Speed, EnergyIsThatOfTheRunsAlone) {
  Machine machine(chosen_isa(), 1);
  Decoder decoder(SourceModel::open(data_directory() / "tiny_tied"), exact_options(), machine);
  double used = 0;
  const std::vector<Speed> speeds = measure_speed(
      decoder, {.prompt_tokens = 16, .generated_tokens = 4, .repetitions = 3, .least_seconds = 0.05, .joules = [&] {
                  return ++used;
                }});
  for (const Speed& speed : speeds) {
    EXPECT_EQ(speed.joules, static_cast<double>(speed.samples.size()));
    EXPECT_GE(speed.samples.size(), 3u);
    EXPECT_GE(speed.seconds, 0.05);
  }
  EXPECT_FALSE(measure_speed(decoder, {.prompt_tokens = 4, .generated_tokens = 0, .repetitions = 1})[0].joules);
}

}  // namespace
}  // namespace nibble
