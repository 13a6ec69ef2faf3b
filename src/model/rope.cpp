// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "model/arch/architecture.h"
#include "model/config.h"

namespace nibble {

namespace {

constexpr float kStillDivisor = 1e30F;  // as llama.cpp's converter writes it

double plain_frequency(const RopeConfig& rope, std::uint64_t pair) {
  return std::pow(rope.base, -2.0 * static_cast<double>(pair) / static_cast<double>(rope.rotary_dim));
}

// Llama 3.1: long waves are stretched by the factor, short ones left alone, those between blended.
double llama3_divisor(const RopeConfig& rope, double frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = static_cast<double>(rope.original_context);
  if (wavelength < context / rope.high_frequency_factor) return 1;
  if (wavelength > context / rope.low_frequency_factor) return rope.factor;
  const double smooth =
      (context / wavelength - rope.low_frequency_factor) / (rope.high_frequency_factor - rope.low_frequency_factor);
  return 1 / ((1 - smooth) / rope.factor + smooth);
}

// YaRN (Peng et al. 2023), with the borders as transformers and llama.cpp have them.
double yarn_frequency(const RopeConfig& rope, std::uint64_t pair) {
  const double dim = static_cast<double>(rope.rotary_dim), context = static_cast<double>(rope.original_context);
  const auto pair_that_turns = [&](double times) {
    return dim * std::log(context / (times * 2 * std::numbers::pi)) / (2 * std::log(rope.base));
  };
  double low = pair_that_turns(rope.high_frequency_factor), high = pair_that_turns(rope.low_frequency_factor);
  if (rope.whole_borders) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  const double stretched = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  const double plain = plain_frequency(rope, pair);
  return plain * (1 - stretched) + plain / rope.factor * stretched;
}

}  // namespace

std::vector<double> rope_inverse_frequencies(const RopeConfig& rope) {
  std::vector<double> frequencies(rope.rotary_dim / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    double frequency = plain_frequency(rope, i);
    if (rope.scaling == RopeScaling::linear) frequency /= rope.factor;
    if (rope.scaling == RopeScaling::yarn) frequency = yarn_frequency(rope, i);
    if (rope.scaling == RopeScaling::llama3) frequency /= llama3_divisor(rope, frequency);
    if (!rope.frequency_divisors.empty()) frequency /= static_cast<double>(rope.frequency_divisors[i]);
    if (rope.scaling == RopeScaling::longrope) frequency /= static_cast<double>(rope.short_factors[i]);
    frequencies[i] = frequency;
  }
  return frequencies;
}

std::vector<float> proportional_divisors(std::uint64_t rotary_dim, std::uint64_t turning_pairs, double factor) {
  std::vector<float> divisors(rotary_dim / 2, kStillDivisor);
  std::fill_n(divisors.begin(), std::min<std::uint64_t>(turning_pairs, divisors.size()), static_cast<float>(factor));
  return divisors;
}

std::optional<std::uint64_t> turning_pairs(const std::vector<float>& divisors, double& factor) {
  const auto still = std::ranges::find_if(divisors, [](float divisor) { return divisor >= kStillDivisor; });
  if (std::adjacent_find(divisors.begin(), still, std::not_equal_to<>()) != still) return std::nullopt;
  if (std::any_of(still, divisors.end(), [](float divisor) { return divisor < kStillDivisor; })) return std::nullopt;
  factor = still == divisors.begin() ? 1 : static_cast<double>(divisors.front());
  return static_cast<std::uint64_t>(still - divisors.begin());
}

std::vector<double> rope_long_frequencies(const RopeConfig& rope) {
  std::vector<double> frequencies;
  if (rope.scaling != RopeScaling::longrope) return frequencies;
  for (std::size_t i = 0; i < rope.rotary_dim / 2; ++i)
    frequencies.push_back(plain_frequency(rope, i) / static_cast<double>(rope.long_factors[i]));
  return frequencies;
}

float longrope_magnitude(double factor, std::uint64_t original_context) {
  if (factor <= 1) return 1;
  return static_cast<float>(std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(original_context))));
}

double sliding_magnitude(const RopeConfig& rope) {
  const double usual = yarn_magnitude(rope.factor), share = static_cast<double>(rope.magnitude) / usual;
  return std::abs(share - 1) <= 1e-6 ? 1 : share;  // a last bit of difference comes from rounding
}

double yarn_magnitude(double factor, double scale) { return factor <= 1 ? 1 : 1 + 0.1 * scale * std::log(factor); }

std::vector<float> rope_frequency_divisors(const RopeConfig& rope) {
  if (rope.scaling != RopeScaling::llama3) return rope.frequency_divisors;
  std::vector<float> divisors(rope.rotary_dim / 2);
  for (std::size_t i = 0; i < divisors.size(); ++i)
    divisors[i] = static_cast<float>(llama3_divisor(rope, plain_frequency(rope, i)));
  return divisors;
}

}  // namespace nibble
