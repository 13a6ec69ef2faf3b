// SPDX-License-Identifier: Apache-2.0
//
// Rows that training looks at: what they are by definition, in f64, within what f32 rounds; and the same bits on every
// set.
#include "kernels/training/training_loops.h"

#include <functional>

#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

const std::size_t kLengths[] = {1, 2, 15, 16, 17, 31, 33, 100, 257};

// What a row function leaves, and gives.
using Rows = std::vector<float>;
using Act = std::function<Rows(const TrainingLoops&)>;

Rows same_everywhere(const Act& act) {
  const Rows first = act(training_loops(Isa::scalar));
  for (const Isa isa : runnable_sets()) EXPECT_TRUE(same_bits(act(training_loops(isa)), first)) << isa_name(isa);
  return first;
}

// Exponentials are off by 2^-23 of themselves, sums by chains of `count` (Higham, section 3.1), the rest by a few
// roundings.
double bound(std::size_t count) { return 16 * 0x1p-24 + chain_bound(count); }

TEST(TrainingLoops, SoftmaxAndItsGradient) {
  for (const std::size_t n : kLengths)
    for (const float rest : {-INFINITY, 0.5F, 90.0F}) {
      const Rows scores = normal_numbers(n, 1, 4), worth = normal_numbers(n, 2);
      const Rows p = same_everywhere([&](const TrainingLoops& loops) {
        Rows x = scores;
        const float share = loops.softmax(x.data(), n, 0.5F, rest);
        x.push_back(share);
        return x;
      });
      double total = std::exp(static_cast<double>(rest)), mean = 0;
      for (const float s : scores) total += std::exp(static_cast<double>(s) / 2);
      for (std::size_t i = 0; i <= n; ++i) {
        const double exact = std::exp(i < n ? static_cast<double>(scores[i]) / 2 : static_cast<double>(rest)) / total;
        EXPECT_NEAR(p[i], exact, bound(n) * exact + 1e-37) << n << ' ' << rest << ' ' << i;
        if (i < n) mean += static_cast<double>(p[i]) * static_cast<double>(worth[i]);
      }
      const Rows by = same_everywhere([&](const TrainingLoops& loops) {
        Rows g = worth;
        const float middle = loops.softmax_gradient(p.data(), n, 0.5F, g.data());
        g.push_back(middle);
        return g;
      });
      double size = 0;
      for (const float w : worth) size += std::abs(static_cast<double>(w));
      EXPECT_NEAR(by[n], mean, bound(n) * size);
      for (std::size_t i = 0; i < n; ++i)
        EXPECT_NEAR(by[i], static_cast<double>(p[i]) * (static_cast<double>(worth[i]) - mean) / 2, bound(n) * size);
    }
}

TEST(TrainingLoops, Probabilities) {
  for (const std::size_t n : kLengths) {
    const Rows x = normal_numbers(n, 3, 5);
    const Rows y = same_everywhere([&](const TrainingLoops& loops) {
      Rows p = x;
      loops.probabilities(p.data(), n, 2, 0.25F);
      return p;
    });
    for (std::size_t i = 0; i < n; ++i) {
      const double exact = std::exp(static_cast<double>(x[i]) - 2) / 4;
      EXPECT_NEAR(y[i], exact, (16 + std::abs(static_cast<double>(x[i]))) * 0x1p-24 * exact);
    }
  }
}

double silu(double x) { return x / (1 + std::exp(-x)); }
double gelu(double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x))); }
// By five points.
double slope(double (*f)(double), double x) {
  constexpr double h = 1e-3;
  return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

TEST(TrainingLoops, Activations) {
  for (const std::size_t n : kLengths)
    for (const bool is_silu : {true, false}) {
      const Rows x = normal_numbers(n, 4, 3), dy = normal_numbers(n, 5), before = normal_numbers(n, 6);
      const Rows y = same_everywhere([&](const TrainingLoops& loops) {
        Rows out(n);
        (is_silu ? loops.silu : loops.gelu)(x.data(), n, out.data());
        return out;
      });
      const Rows dx = same_everywhere([&](const TrainingLoops& loops) {
        Rows sum = before;
        (is_silu ? loops.add_silu_gradient : loops.add_gelu_gradient)(x.data(), dy.data(), n, sum.data());
        return sum;
      });
      double (*const f)(double) = is_silu ? silu : gelu;
      for (std::size_t i = 0; i < n; ++i) {
        const double at = static_cast<double>(x[i]);
        EXPECT_NEAR(y[i], f(at), 1e-6 * (std::abs(f(at)) + 0.01));
        EXPECT_NEAR(dx[i], static_cast<double>(before[i]) + static_cast<double>(dy[i]) * slope(f, at), 4e-6) << at;
      }
    }
}

TEST(TrainingLoops, RmsNormGradient) {
  for (const std::size_t n : kLengths) {
    const Rows x = normal_numbers(n, 7), w = normal_numbers(n, 8), dy = normal_numbers(n, 9),
               before = normal_numbers(2 * n, 10);
    for (const int asked : {1, 2, 3}) {
      const Rows sums = same_everywhere([&](const TrainingLoops& loops) {
        Rows out = before;
        loops.add_rms_norm_gradient(x.data(), w.data(), dy.data(), n, 0.125F, asked % 2 != 0 ? out.data() : nullptr,
                                    asked / 2 != 0 ? out.data() + n : nullptr);
        return out;
      });
      double squares = 0, along = 0;
      for (std::size_t i = 0; i < n; ++i) {
        squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
        along += static_cast<double>(x[i]) * static_cast<double>(dy[i]) * static_cast<double>(w[i]);
      }
      const double count = static_cast<double>(n), mean = squares / count + 0.125, factor = 1 / std::sqrt(mean);
      for (std::size_t i = 0; i < n; ++i) {
        const double xi = static_cast<double>(x[i]), dyi = static_cast<double>(dy[i]);
        const double by_x = factor * (dyi * static_cast<double>(w[i]) - xi * along / (mean * count));
        EXPECT_NEAR(sums[i], static_cast<double>(before[i]) + (asked % 2 != 0 ? by_x : 0), 2e-5);
        EXPECT_NEAR(sums[n + i], static_cast<double>(before[n + i]) + (asked / 2 != 0 ? dyi * xi * factor : 0), 5e-6);
      }
    }
  }
}

}  // namespace
}  // namespace nibble
