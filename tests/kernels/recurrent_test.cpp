// SPDX-License-Identifier: Apache-2.0
//
// Operations that recur: against sums in f64, among instruction sets, and cut into pieces in any way.
#include "kernels/recurrent/recurrent.h"

#include <cmath>

#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

constexpr double kUnit = 0x1p-24;  // rounding error of one f32 operation, relative

// How a text of 23 tokens is cut, and how many sequences share a call.
struct Cut {
  std::size_t length, sequences;
};
constexpr std::size_t kTokens = 23;
constexpr Cut kCuts[] = {{kTokens, 1}, {1, 1}, {2, 3}, {7, 2}, {8, 1}};

struct ConvolutionCase {
  std::size_t width, num_taps;
  bool activates;
};

class Convolutions : public testing::TestWithParam<ConvolutionCase> {
 protected:
  const ConvolutionCase& c_ = GetParam();
  std::vector<float> x_ = normal_numbers(kTokens * c_.width, 1), taps_ = normal_numbers(c_.width * c_.num_taps, 2);
  Machine machine_{Isa::scalar, 3};

  std::vector<float> run(Isa isa, Cut cut) {
    const GuardedBuffer<float> x(x_), taps(taps_), state(cut.sequences * (c_.num_taps - 1) * c_.width),
        out(cut.sequences * x_.size());
    for (std::size_t at = 0; at < kTokens; at += cut.length) {
      std::vector<ConvolutionPiece> pieces;
      for (std::size_t s = 0; s < cut.sequences; ++s)
        pieces.push_back({state.data() + s * (c_.num_taps - 1) * c_.width, std::min(cut.length, kTokens - at),
                          x.data() + at * c_.width, out.data() + s * x_.size() + at * c_.width});
      causal_convolution(pieces, {taps.data(), c_.num_taps, c_.width, c_.activates}, with_set(machine_, isa));
    }
    return out.copy();
  }
};
INSTANTIATE_TEST_SUITE_P(All, Convolutions,
                         testing::Values(ConvolutionCase{1, 4, true}, ConvolutionCase{16, 4, false},
                                         ConvolutionCase{100, 3, true}, ConvolutionCase{300, 4, true},
                                         ConvolutionCase{33, 1, false}, ConvolutionCase{20, 32, true}));

TEST_P(Convolutions, AgreeWithExactArithmetic) {
  const std::vector<float> found = run(Isa::scalar, kCuts[0]);
  for (std::size_t t = 0; t < kTokens; ++t)
    for (std::size_t c = 0; c < c_.width; ++c) {
      double sum = 0, magnitude = 0;
      for (std::size_t back = 0; back < c_.num_taps && back <= t; ++back) {
        const double term = static_cast<double>(taps_[c * c_.num_taps + c_.num_taps - 1 - back]) *
                            static_cast<double>(x_[(t - back) * c_.width + c]);
        sum += term;
        magnitude += std::abs(term);
      }
      // silu's slope is at most 1.1; its own operations are within 8 units.
      const double bound = chain_bound(c_.num_taps) * magnitude;
      const double exact = c_.activates ? sum / (1 + std::exp(-sum)) : sum;
      EXPECT_NEAR(found[t * c_.width + c], exact,
                  c_.activates ? 1.1 * bound + 8 * kUnit * std::abs(exact) : bound + 1e-30);
    }
}

TEST_P(Convolutions, HaveTheSameBitsOnAllSetsAndForAnyCut) {
  const std::vector<float> whole = run(Isa::scalar, kCuts[0]);
  for (const Isa isa : runnable_sets())
    for (const Cut cut : kCuts) {
      const std::vector<float> found = run(isa, cut);
      for (std::size_t s = 0; s < cut.sequences; ++s)
        EXPECT_TRUE(same_bits({&found[s * whole.size()], &found[s * whole.size()] + whole.size()}, whole))
            << isa_name(isa) << ' ' << cut.length;
    }
}

struct DeltaCase {
  std::size_t key_heads, heads, key_dim, value_dim;
  bool tiles;
};

class DeltaRules : public testing::TestWithParam<DeltaCase> {
 protected:
  const DeltaCase& c_ = GetParam();
  std::size_t keys_ = c_.key_heads * c_.key_dim, values_ = c_.heads * c_.value_dim;
  // Keys and queries of about length 1, as behind a norm.
  double length_ = 1 / std::sqrt(static_cast<double>(c_.key_dim));
  std::vector<float> q_ = normal_numbers(kTokens * keys_, 1, length_), k_ = normal_numbers(kTokens * keys_, 2, length_),
                     v_ = normal_numbers(kTokens * values_, 3), a_ = normal_numbers(kTokens * c_.heads, 4),
                     b_ = normal_numbers(kTokens * c_.heads, 5), bias_ = normal_numbers(c_.heads, 6),
                     rate_ = normal_numbers(c_.heads, 7);
  float scale_ = 0.5F;
  Machine machine_{Isa::scalar, 3};

  void SetUp() override {
    for (float& rate : rate_) rate = -std::abs(rate);
  }
  std::vector<float> run(Isa isa, Cut cut) {
    const std::size_t state_size = c_.heads * c_.key_dim * c_.value_dim;
    const GuardedBuffer<float> q(q_), k(k_), v(v_), a(a_), b(b_), bias(bias_), rate(rate_),
        state(cut.sequences * state_size), out(cut.sequences * v_.size());
    for (std::size_t at = 0; at < kTokens; at += cut.length) {
      std::vector<DeltaPiece> pieces;
      for (std::size_t s = 0; s < cut.sequences; ++s)
        pieces.push_back({state.data() + s * state_size, std::min(cut.length, kTokens - at), q.data() + at * keys_,
                          k.data() + at * keys_, v.data() + at * values_, a.data() + at * c_.heads,
                          b.data() + at * c_.heads, out.data() + s * v_.size() + at * values_});
      gated_delta_rule(pieces,
                       {rate.data(), bias.data(), c_.key_heads, c_.heads, c_.key_dim, c_.value_dim, scale_, c_.tiles},
                       with_set(machine_, isa));
    }
    return out.copy();
  }
  std::size_t key_head(std::size_t h) const { return c_.tiles ? h % c_.key_heads : h / (c_.heads / c_.key_heads); }
};
INSTANTIATE_TEST_SUITE_P(All, DeltaRules,
                         testing::Values(DeltaCase{1, 1, 1, 1, false}, DeltaCase{2, 4, 16, 16, false},
                                         DeltaCase{2, 6, 24, 40, true}, DeltaCase{3, 3, 32, 100, false},
                                         DeltaCase{2, 4, 128, 128, true}, DeltaCase{1, 1, 260, 48, false}));

TEST_P(DeltaRules, AgreeWithExactArithmetic) {
  const std::vector<float> found = run(Isa::scalar, kCuts[0]);
  double largest = 0;
  std::vector<double> exact(found.size());
  for (std::size_t h = 0; h < c_.heads; ++h)
    for (std::size_t c = h * c_.value_dim; c < (h + 1) * c_.value_dim; ++c) {
      std::vector<double> column(c_.key_dim);
      for (std::size_t t = 0; t < kTokens; ++t) {
        const float *const q = &q_[t * keys_ + key_head(h) * c_.key_dim], *const k =
                                                                              &k_[t * keys_ + key_head(h) * c_.key_dim];
        const double x = static_cast<double>(a_[t * c_.heads + h]) + static_cast<double>(bias_[h]);
        const double kept = std::exp(static_cast<double>(rate_[h]) * std::log(1 + std::exp(x))),
                     learnt = 1 / (1 + std::exp(-static_cast<double>(b_[t * c_.heads + h])));
        double known = 0, sum = 0;
        for (std::size_t i = 0; i < c_.key_dim; ++i) known += kept * column[i] * static_cast<double>(k[i]);
        for (std::size_t i = 0; i < c_.key_dim; ++i) {
          column[i] = kept * column[i] +
                      static_cast<double>(k[i]) * learnt * (static_cast<double>(v_[t * values_ + c]) - known);
          sum += column[i] * static_cast<double>(q[i]);
        }
        exact[t * values_ + c] = sum * static_cast<double>(scale_);
        largest = std::max(largest, std::abs(exact[t * values_ + c]));
      }
    }
  // With keys about as long as 1 an error of one token grows by no later one. A token's sums have key_dim roundings
  // each, of terms that together are some times the result.
  const double bound = 4 * chain_bound(2 * c_.key_dim + 8) * static_cast<double>(kTokens) * largest;
  for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(found[i], exact[i], bound) << i;
}

TEST_P(DeltaRules, HaveTheSameBitsOnAllSetsAndForAnyCut) {
  const std::vector<float> whole = run(Isa::scalar, kCuts[0]);
  for (const Isa isa : runnable_sets())
    for (const Cut cut : kCuts) {
      const std::vector<float> found = run(isa, cut);
      for (std::size_t s = 0; s < cut.sequences; ++s)
        EXPECT_TRUE(same_bits({&found[s * whole.size()], &found[s * whole.size()] + whole.size()}, whole))
            << isa_name(isa) << ' ' << cut.length;
    }
}

}  // namespace
}  // namespace nibble
