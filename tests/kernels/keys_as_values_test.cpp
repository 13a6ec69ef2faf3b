// SPDX-License-Identifier: Apache-2.0
//
// Caches whose keys are their values, too: the bits of caches that keep both, where these hold the same numbers, and
// what sums in f64 over the keys' rounded numbers give.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/attention/kv_rounding.h"
#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

constexpr std::size_t kTokens = 150, kHeads = 5;

struct CacheCase {
  std::size_t head_dim;
  KvType type;
};

class KeysAsValues : public testing::TestWithParam<CacheCase> {
 protected:
  const std::size_t dim_ = GetParam().head_dim;
  const KvType type_ = GetParam().type;
  const float scale_ = static_cast<float>(1 / std::sqrt(static_cast<double>(dim_)));
  Machine machine_{Isa::scalar, 3};
  std::vector<float> queries_ = normal_numbers(kTokens * kHeads * dim_, 1), keys_ = normal_numbers(kTokens * dim_, 2);

  std::vector<float> run(Isa isa, KvValues values, std::size_t at_once) {
    Machine& machine = with_set(machine_, isa);
    KvLayer cache(kTokens, 1, dim_, type_, values);
    std::vector<float> out(queries_.size());
    for (std::size_t t = 0; t < kTokens; t += at_once) {
      const float* const keys = &keys_[t * dim_];
      const AttentionPiece piece{&cache,
                                 t,
                                 std::min(at_once, kTokens - t),
                                 &queries_[t * kHeads * dim_],
                                 keys,
                                 values == KvValues::own ? keys : nullptr,
                                 &out[t * kHeads * dim_]};
      store_keys_values({&piece, 1}, machine.pool);
      attention({&piece, 1}, {.heads = kHeads, .scale = scale_}, machine);
    }
    return out;
  }
};
INSTANTIATE_TEST_SUITE_P(All, KeysAsValues,
                         testing::Values(CacheCase{48, KvType::f32}, CacheCase{70, KvType::f32},
                                         CacheCase{48, KvType::f16}, CacheCase{48, KvType::q8_0},
                                         CacheCase{576, KvType::q8_0}, CacheCase{96, KvType::q4_0},
                                         CacheCase{576, KvType::q8_0_rotated}, CacheCase{96, KvType::q4_0_rotated}));

TEST_P(KeysAsValues, HaveTheSameBitsInEverySetAndCut) {
  const std::vector<float> expected = run(Isa::scalar, KvValues::are_keys, kTokens);
  for (const Isa isa : runnable_sets())
    for (const std::size_t at_once : {kTokens, std::size_t{1}, std::size_t{7}})
      EXPECT_TRUE(same_bits(run(isa, KvValues::are_keys, at_once), expected)) << isa_name(isa) << ' ' << at_once;
  if (type_ == KvType::f32 || type_ == KvType::f16) {
    EXPECT_TRUE(same_bits(run(Isa::scalar, KvValues::own, kTokens), expected));
  }
}

TEST_P(KeysAsValues, AreWhatTheCacheRoundsThemTo) {
  const std::vector<float> found = run(Isa::scalar, KvValues::are_keys, kTokens);
  std::vector<float> rounded = keys_;
  round_as_cached(rounded, dim_, type_, CachedNumbers::keys, machine_.pool);
  double difference = 0, whole = 0;
  for (std::size_t t = 0; t < kTokens; ++t)
    for (std::size_t head = t * kHeads; head < (t + 1) * kHeads; ++head) {
      std::vector<double> shares(t + 1), sums(dim_);
      double total = 0;
      for (std::size_t s = 0; s <= t; ++s) {
        for (std::size_t i = 0; i < dim_; ++i)
          shares[s] += static_cast<double>(queries_[head * dim_ + i]) * static_cast<double>(rounded[s * dim_ + i]);
        total += shares[s] = std::exp(shares[s] * static_cast<double>(scale_));
      }
      for (std::size_t s = 0; s <= t; ++s)
        for (std::size_t i = 0; i < dim_; ++i)
          sums[i] += shares[s] / total * static_cast<double>(rounded[s * dim_ + i]);
      for (std::size_t i = 0; i < dim_; ++i) {
        const double apart = static_cast<double>(found[head * dim_ + i]) - sums[i];
        difference += apart * apart;
        whole += sums[i] * sums[i];
      }
    }
  // Queries are rounded to 8 bits for caches in codes: to 1 / 254 of the largest of 32 numbers, about 1 % of a score.
  EXPECT_LT(std::sqrt(difference / whole), type_ == KvType::f32 || type_ == KvType::f16 ? 1e-5 : 0.02);
}

// Half of what both take.
TEST_P(KeysAsValues, AreKeptOnce) {
  EXPECT_EQ(2 * KvLayer::bytes_of(kTokens, 1, dim_, type_, KvValues::are_keys),
            KvLayer::bytes_of(kTokens, 1, dim_, type_));
}

}  // namespace
}  // namespace nibble
