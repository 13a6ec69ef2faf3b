// SPDX-License-Identifier: Apache-2.0
//
// Expected values: LlamaRotaryEmbedding of transformers 5.23 (float32), and the formula of the Llama 3.1 model card in
// Python.
#include <gtest/gtest.h>

#include <cmath>

#include "model/arch/architecture.h"

namespace nibble {
namespace {

// float32 powers are good to a few units in the last place.
void expect_close(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i] / expected[i], 1, 1e-6) << i;
}

RopeConfig llama3() {
  RopeConfig rope;
  rope.base = 500000;
  rope.rotary_dim = 32;
  rope.scaling = RopeScaling::llama3;
  rope.factor = 8;
  rope.original_context = 8192;
  return rope;
}

TEST(Rope, PlainFrequencies) {
  RopeConfig rope;
  rope.rotary_dim = 16;
  expect_close(rope_inverse_frequencies(rope),
               {1.0, 0.3162277638912201, 0.10000000149011612, 0.03162277862429619, 0.009999999776482582,
                0.003162277862429619, 0.0010000000474974513, 0.0003162277862429619});
}

TEST(Rope, LinearFrequencies) {
  RopeConfig rope;
  rope.rotary_dim = 16;
  rope.scaling = RopeScaling::linear;
  rope.factor = 4;
  expect_close(rope_inverse_frequencies(rope),
               {0.25, 0.07905694097280502, 0.02500000037252903, 0.007905694656074047, 0.0024999999441206455,
                0.0007905694656074047, 0.0002500000118743628, 7.905694656074047e-05});
}

TEST(Rope, Llama3Frequencies) {
  expect_close(rope_inverse_frequencies(llama3()),
               {1.0, 0.44036662578582764, 0.193922758102417, 0.08539710193872452, 0.03760603070259094,
                0.016560440883040428, 0.00729266507551074, 0.0032114461064338684, 0.0005248460220173001,
                7.784655463183299e-05, 3.428102354519069e-05, 1.5096217794052791e-05, 6.647869668086059e-06,
                2.927499735960737e-06, 1.289173155782919e-06, 5.677088097399974e-07});
}

TEST(Rope, Llama3Divisors) {
  const std::vector<float> divisors = rope_frequency_divisors(llama3());
  const std::vector<float> expected = {1, 1, 1, 1, 1, 1, 1, 1, 2.6945296878947333f, 8, 8, 8, 8, 8, 8, 8};
  ASSERT_EQ(divisors.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_FLOAT_EQ(divisors[i], expected[i]) << i;
}

TEST(Rope, DivisorsOfAFileGiveTheSameFrequencies) {
  RopeConfig from_file = llama3();
  from_file.frequency_divisors = rope_frequency_divisors(llama3());
  from_file.scaling = RopeScaling::none;
  expect_close(rope_inverse_frequencies(from_file), rope_inverse_frequencies(llama3()));
  EXPECT_EQ(rope_frequency_divisors(from_file), from_file.frequency_divisors);
}

// transformers 5.24, _compute_longrope_parameters: of 12 channels, a context of 256 over 40.
TEST(Rope, LongRopeFrequenciesAndMagnitude) {
  RopeConfig rope;
  rope.rotary_dim = 12;
  rope.scaling = RopeScaling::longrope;
  rope.short_factors = {1.0f, 1.25f, 1.5f, 1.75f, 2.0f, 2.5f};
  rope.long_factors = {1.5f, 2.5f, 4.0f, 7.0f, 11.0f, 16.0f};
  expect_close(rope_inverse_frequencies(rope), {1.0, 0.17235475778579712, 0.030943920835852623, 0.0057142856530845165,
                                                0.001077217166312039, 0.00018566357903182507});
  expect_close(rope_long_frequencies(rope), {0.6666666865348816, 0.08617737889289856, 0.011603971011936665,
                                             0.0014285714132711291, 0.00019585766131058335, 2.9009934223722667e-05});
  EXPECT_FLOAT_EQ(longrope_magnitude(256.0 / 40, 40), 1.2260565230334453f);
  EXPECT_EQ(longrope_magnitude(1, 4096), 1.0f);
}

// transformers 5.24, _compute_yarn_parameters.
TEST(Rope, YarnFrequenciesAndMagnitude) {
  RopeConfig rope;
  rope.rotary_dim = 16;
  rope.scaling = RopeScaling::yarn;
  rope.factor = 4;
  rope.high_frequency_factor = kYarnFastTurns;
  rope.low_frequency_factor = kYarnSlowTurns;
  rope.original_context = 64;
  expect_close(rope_inverse_frequencies(rope),
               {1.0, 0.23717081546783447, 0.04999999701976776, 0.007905694656074047, 0.0024999999441206455,
                0.0007905694656074047, 0.0002500000118743628, 7.905694656074047e-05});
  EXPECT_NEAR(yarn_magnitude(4), 1.138629436111989, 1e-12);
  rope.original_context = 4;  // no channel turns that often in so few positions
  expect_close(rope_inverse_frequencies(rope),
               {1.0, 0.07905694097280502, 0.02500000037252903, 0.007905694656074047, 0.0024999999441206455,
                0.0007905694656074047, 0.0002500000118743628, 7.905694656074047e-05});
  rope.factor = 8;
  rope.original_context = 256;
  rope.high_frequency_factor = 24;
  rope.low_frequency_factor = 2;
  rope.whole_borders = false;
  expect_close(rope_inverse_frequencies(rope),
               {1.0, 0.24696169793605804, 0.037556152790784836, 0.0039528473280370235, 0.0012499999720603228,
                0.00039528473280370235, 0.0001250000059371814, 3.9528473280370235e-05});
  EXPECT_NEAR(yarn_magnitude(8, 0.7) / yarn_magnitude(8, 1.3), 0.9017839869787123, 1e-12);
  EXPECT_EQ(yarn_magnitude(1), 1);
}

TEST(Rope, PlainRotationNeedsNoDivisors) {
  EXPECT_TRUE(rope_frequency_divisors(RopeConfig{.rotary_dim = 16, .frequency_divisors = {}}).empty());
}

// Row r of GGUF's matrix is row expected[r] of Hugging Face's: numpy's arange(16).reshape(2, 2, 4).swapaxes(1, 2), two
// heads of eight.
TEST(RotaryRows, PermutationPerHead) {
  const std::vector<std::uint64_t> expected = {0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15};
  for (std::uint64_t row = 0; row < expected.size(); ++row) {
    EXPECT_EQ(huggingface_row_of(row, 8), expected[row]);
    EXPECT_EQ(gguf_row_of(expected[row], 8), row);
  }
}

}  // namespace
}  // namespace nibble
