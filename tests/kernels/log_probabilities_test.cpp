// SPDX-License-Identifier: Apache-2.0
#include "kernels/log_probabilities.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

const std::size_t kCounts[] = {1, 2, 15, 16, 17, 31, 64, 100, 255, 256, 1000, 20001};

double exact_log_sum(const float* x, std::size_t count) {
  double top = -1e300, sum = 0;
  for (std::size_t i = 0; i < count; ++i) top = std::max(top, static_cast<double>(x[i]));
  for (std::size_t i = 0; i < count; ++i) sum += std::exp(static_cast<double>(x[i]) - top);
  return top + std::log(sum);
}

// Every term is within 1e-14 of its value, and sums of positive terms keep that but for their own count * 2^-53 / 16
// roundings.
constexpr double kLogSumError = 1e-13;

TEST(LogSumExp, AgreesWithExactArithmeticAndAmongSets) {
  for (std::size_t count : kCounts) {
    const GuardedBuffer<float> x(normal_numbers(count, count, 10));
    const LogSumExp reference = log_sum_exp(x.data(), count, Isa::scalar);
    EXPECT_EQ(reference.maximum, *std::max_element(x.data(), x.data() + count));
    EXPECT_NEAR(reference.log_sum, exact_log_sum(x.data(), count), kLogSumError * (1 + std::fabs(reference.log_sum)));
    for (Isa isa : runnable_sets()) {
      const LogSumExp other = log_sum_exp(x.data(), count, isa);
      EXPECT_EQ(other.log_sum, reference.log_sum) << isa_name(isa) << ' ' << count;
      EXPECT_EQ(other.maximum, reference.maximum);
    }
  }
}

TEST(LogSumExp, FarLogitsNeitherOverflowNorVanish) {
  const std::vector<float> x = {3000, 2999, -3e38f};
  for (Isa isa : runnable_sets())
    EXPECT_NEAR(log_sum_exp(x.data(), 3, isa).log_sum, 3000 + std::log1p(std::exp(-1.0)), 1e-12) << isa_name(isa);
}

TEST(DivergenceOfLogits, AgreesWithTheDefinitionAndAmongSets) {
  for (std::size_t count : kCounts) {
    const GuardedBuffer<float> p(normal_numbers(count, count, 4)), noise(normal_numbers(count, count + 1, 0.1f));
    std::vector<float> changed(count);
    for (std::size_t i = 0; i < count; ++i) changed[i] = p.data()[i] + noise.data()[i];
    const GuardedBuffer<float> q(changed);
    const LogitDivergence reference = divergence_of_logits(p.data(), q.data(), count, Isa::scalar);
    const double sum_p = exact_log_sum(p.data(), count), sum_q = exact_log_sum(q.data(), count);
    double kl = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double a = static_cast<double>(p.data()[i]) - sum_p, b = static_cast<double>(q.data()[i]) - sum_q;
      kl += std::exp(a) * (a - b);
    }
    EXPECT_NEAR(reference.kl, kl, 1e-12) << count;
    EXPECT_GE(reference.kl, 0);
    EXPECT_EQ(reference.log_sum_p, log_sum_exp(p.data(), count, Isa::scalar).log_sum);
    EXPECT_EQ(reference.log_sum_q, log_sum_exp(q.data(), count, Isa::scalar).log_sum);
    for (Isa isa : runnable_sets()) {
      const LogitDivergence other = divergence_of_logits(p.data(), q.data(), count, isa);
      EXPECT_EQ(other.kl, reference.kl) << isa_name(isa) << ' ' << count;
      EXPECT_EQ(other.log_sum_q, reference.log_sum_q);
      EXPECT_EQ(divergence_of_logits(p.data(), p.data(), count, isa).kl, 0.0);
    }
  }
}

TEST(DivergenceOfLogits, OfKnownDistributions) {
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4): KL = 1/2 ln 2 - 1/4 ln 2. Logits may be shifted at will.
  const std::vector<float> p = {std::log(2.0f) + 3, 3, 3}, q = {-5, std::log(2.0f) - 5, -5};
  const std::vector<float> far_p = {3000, 2999}, far_q = {-3000, -2999};
  const double a = 1 / (1 + std::exp(-1.0)), b = 1 - a;
  for (Isa isa : runnable_sets()) {
    EXPECT_NEAR(divergence_of_logits(p.data(), q.data(), 3, isa).kl, 0.25 * std::log(2.0), 1e-6);
    EXPECT_NEAR(divergence_of_logits(far_p.data(), far_q.data(), 2, isa).kl, a * std::log(a / b) + b * std::log(b / a),
                1e-9);
  }
}

TEST(DivergenceOfLogits, WhatIsNotFiniteShows) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
  for (Isa isa : runnable_sets())
    for (const float bad : {kInfinity, -kInfinity, kNaN})
      for (const std::size_t at : {0, 5, 20}) {
        std::vector<float> good = normal_numbers(21, 1), broken = good;
        broken[at] = bad;
        EXPECT_FALSE(std::isfinite(divergence_of_logits(good.data(), broken.data(), 21, isa).kl))
            << isa_name(isa) << ' ' << bad << ' ' << at;
        EXPECT_FALSE(std::isfinite(divergence_of_logits(broken.data(), good.data(), 21, isa).kl))
            << isa_name(isa) << ' ' << bad << ' ' << at;
        if (bad != -kInfinity) {
          EXPECT_FALSE(std::isfinite(log_sum_exp(broken.data(), 21, isa).log_sum))
              << isa_name(isa) << ' ' << bad << ' ' << at;
        }
      }
}

TEST(Greatest, AreInOrderAndTiesGoByPosition) {
  for (std::size_t count : kCounts) {
    std::vector<float> x = normal_numbers(count, count + 9, 3);
    for (float& value : x) value = std::round(value);  // many ties
    std::vector<std::uint32_t> order(count);
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) { return x[a] != x[b] ? x[a] > x[b] : a < b; });
    std::vector<std::uint32_t> best(std::min<std::size_t>(count, 5));
    order.resize(best.size());
    for (Isa isa : runnable_sets()) {
      greatest(x.data(), count, best, isa);
      EXPECT_EQ(best, order) << isa_name(isa) << ' ' << count;
    }
  }
}

}  // namespace
}  // namespace nibble
