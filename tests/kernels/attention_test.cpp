// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/half.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/kv_layout.h"

namespace nibble {
namespace {

struct Shape {
  std::size_t heads, kv_heads, head_dim;
};

// Softmax attention in double precision over the f32 keys and values themselves.
std::vector<double> exact_attention(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v, std::size_t tokens,
                                    std::size_t position, double scale, const Shape& s) {
  std::vector<double> out(q.size());
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t h = 0; h < s.heads; ++h) {
      const std::size_t kv = h / (s.heads / s.kv_heads), seen = position + t + 1, at = (t * s.heads + h) * s.head_dim;
      std::vector<double> score(seen);
      double top = -1e300, sum = 0;
      for (std::size_t j = 0; j < seen; ++j) {
        for (std::size_t d = 0; d < s.head_dim; ++d)
          score[j] += static_cast<double>(q[at + d]) * static_cast<double>(k[(j * s.kv_heads + kv) * s.head_dim + d]);
        top = std::max(top, score[j] *= scale);
      }
      for (double& x : score) sum += x = std::exp(x - top);
      for (std::size_t j = 0; j < seen; ++j)
        for (std::size_t d = 0; d < s.head_dim; ++d) out[at + d] += score[j] / sum * static_cast<double>(v[(j * s.kv_heads + kv) * s.head_dim + d]);
    }
  return out;
}

struct Case {
  std::vector<float> q, k, v;
};

// Stores `cached` positions in pieces, then asks for the last `tokens` of them.
std::vector<float> run(const Case& c, const Shape& s, std::size_t cached, std::size_t tokens, KvType type, Isa isa, std::size_t threads,
                       std::size_t piece) {
  ThreadPool pool(threads);
  KernelScratch scratch;
  KvLayer layer(cached, s.kv_heads, s.head_dim, type);
  const std::size_t width = s.kv_heads * s.head_dim, out_width = s.heads * s.head_dim;
  for (std::size_t p = 0; p < cached; p += piece) {
    const AttentionPiece stored{&layer, p, std::min(piece, cached - p), nullptr, c.k.data() + p * width, c.v.data() + p * width, nullptr};
    store_keys_values(std::span(&stored, 1), pool);
  }
  const GuardedBuffer<float> q(std::vector<float>(c.q.end() - static_cast<std::ptrdiff_t>(tokens * out_width), c.q.end())), out(tokens * out_width);
  const AttentionPiece asked{&layer, cached - tokens, tokens, q.data(), nullptr, nullptr, out.data()};
  attention(std::span(&asked, 1), s.heads, 1 / std::sqrt(static_cast<float>(s.head_dim)), isa, pool, scratch);
  return out.copy();
}

// A group of 32 (or fewer, at the end of a head) as the quantized caches keep it: codes times an f16 scale. 8 bits: the scale is amax / 127.
// 4 bits: the number of largest magnitude is given the code -8. Each number is at most half a step from what is kept, give or take the
// rounding of the scale (2^-11 of it, times the code); with 4 bits a whole step where 8 would be needed and 7 is the largest.
void keep_group(float* x, std::size_t count, KvType type) {
  float extreme = 0;
  for (std::size_t i = 0; i < count; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  const bool eight = type == KvType::q8_0;
  const float scale = f16_to_f32(f32_to_f16(eight ? std::fabs(extreme) / 127.0f : extreme / -8.0f)), inverse = scale != 0 ? 1.0f / scale : 0.0f;
  for (std::size_t i = 0; i < count; ++i) {
    const float code = std::nearbyint(std::clamp(x[i] * inverse, eight ? -127.0f : -8.0f, eight ? 127.0f : 7.0f)), kept = code * scale;
    const double step = std::fabs(static_cast<double>(scale)), largest = eight ? 127 : 8;
    EXPECT_LE(std::fabs(static_cast<double>(kept - x[i])), step * ((code == 7 && !eight ? 1 : 0.5) + 1.01 * largest * 0x1p-11));
    x[i] = kept;
  }
}

// What a cache of this type gives back for heads of `head_dim` numbers.
std::vector<float> kept_numbers(std::vector<float> x, std::size_t head_dim, KvType type) {
  for (std::size_t head = 0; head < x.size(); head += head_dim)
    if (type == KvType::q8_0 || type == KvType::q4_0)
      for (std::size_t d = 0; d < head_dim; d += 32) keep_group(&x[head + d], std::min<std::size_t>(32, head_dim - d), type);
  if (type == KvType::f16)
    for (float& value : x) value = f16_to_f32(f32_to_f16(value));
  return x;
}

std::vector<float> rotated(std::vector<float> x, std::size_t head_dim) {
  for (std::size_t head = 0; head < x.size(); head += head_dim) hadamard_rotate(&x[head], head_dim);
  return x;
}

class Attention : public ::testing::TestWithParam<KvType> {};

// Against softmax in double over exactly what the cache keeps, so that only f32 arithmetic is left: u = 2^-24, gamma_k = k u / (1 - k u).
// Scores: chains of head_dim terms, a product by the scale and the largest one subtracted move each by at most d = scale gamma_{head_dim + 4} sum |q
// k|. Exponentials are within 4 u relative, and so their ratios by e^{2 d} (1 + 8 u); merging chunks scales every term again, at most once for each
// chunk, by factors within 6 u. Sums of n terms and the division add gamma_{n + 1} twice. All is relative to sum of w |v|.
TEST_P(Attention, AgreesWithExactArithmetic) {
  for (const Shape s : {Shape{4, 2, 16}, Shape{3, 3, 8}, Shape{6, 1, 48}, Shape{2, 1, 64}})
    for (std::size_t cached : {1u, 5u, 64u, 65u, 200u}) {
      const Case c{normal_numbers(cached * s.heads * s.head_dim, 1), normal_numbers(cached * s.kv_heads * s.head_dim, 2),
                   normal_numbers(cached * s.kv_heads * s.head_dim, 3)};
      const bool rotates = GetParam() == KvType::q4_0;
      const auto q = rotates ? rotated(c.q, s.head_dim) : c.q, k = kept_numbers(rotates ? rotated(c.k, s.head_dim) : c.k, s.head_dim, GetParam()),
                 v = kept_numbers(c.v, s.head_dim, GetParam());
      const double scale = static_cast<double>(1 / std::sqrt(static_cast<float>(s.head_dim)));
      const auto exact = exact_attention(q, k, v, cached, 0, scale, s);
      const auto got = run(c, s, cached, cached, GetParam(), runnable_sets().back(), 2, 1000);
      const auto magnitudes = [](std::vector<float> x) {
        for (float& value : x) value = std::fabs(value);
        return x;
      };
      const auto weighted = exact_attention(q, k, magnitudes(v), cached, 0, scale, s);  // sum of w |v|
      const auto largest_score = [&](std::size_t t, std::size_t h) {                    // sum of |q k|
        double most = 0;
        for (std::size_t j = 0; j <= t; ++j) {
          double sum = 0;
          for (std::size_t d = 0; d < s.head_dim; ++d)
            sum += std::fabs(static_cast<double>(q[(t * s.heads + h) * s.head_dim + d]) *
                             static_cast<double>(k[(j * s.kv_heads + h / (s.heads / s.kv_heads)) * s.head_dim + d]));
          most = std::max(most, sum);
        }
        return most;
      };
      constexpr double kUnit = 0x1p-24;
      const double n = static_cast<double>(cached), chunks = std::ceil(n / 64);
      for (std::size_t t = 0; t < cached; ++t)
        for (std::size_t h = 0; h < s.heads; ++h) {
          const double moved = scale * static_cast<double>(s.head_dim + 4) * kUnit * 1.01 * largest_score(t, h);
          const double relative = std::expm1(2 * moved + (8 + 6 * chunks + 2 * (n + 1)) * kUnit * 1.01);
          for (std::size_t d = 0; d < s.head_dim; ++d) {
            const std::size_t i = (t * s.heads + h) * s.head_dim + d;
            ASSERT_NEAR(got[i], exact[i], relative * weighted[i] + 1e-30) << "cached " << cached << ", dim " << s.head_dim << ", element " << i;
          }
        }
    }
}

// y[i] = sum over j of (-1)^popcount(i & j) x[j] / sqrt(run) in each run of a power of two. log2(run) additions and a product by a rounded
// factor: within gamma of that count (and 2), relative to sum |x|.
TEST(Hadamard, IsTheTransformOfEachRunAndKeepsProducts) {
  for (const auto& [size, run] : {std::pair<std::size_t, std::size_t>{1, 1}, {48, 16}, {64, 64}, {128, 128}, {80, 16}}) {
    const auto x = normal_numbers(size, size);
    auto y = x;
    hadamard_rotate(y.data(), size);
    for (std::size_t start = 0; start < size; start += run)
      for (std::size_t i = 0; i < run; ++i) {
        double sum = 0, magnitude = 0;
        for (std::size_t j = 0; j < run; ++j) {
          const double term = static_cast<double>(x[start + j]) / std::sqrt(static_cast<double>(run));
          sum += std::popcount(i & j) % 2 == 0 ? term : -term;
          magnitude += std::fabs(term);
        }
        EXPECT_NEAR(y[start + i], sum, (std::log2(static_cast<double>(run)) + 2) * 0x1p-24 * 1.01 * magnitude);
      }
  }
}

TEST_P(Attention, SameBitsForAnySetBatchThreadsAndStorePieces) {
  for (const Shape s : {Shape{4, 2, 16}, Shape{5, 1, 40}, Shape{8, 2, 64}}) {
    const std::size_t cached = 150;
    const Case c{normal_numbers(cached * s.heads * s.head_dim, 4), normal_numbers(cached * s.kv_heads * s.head_dim, 5),
                 normal_numbers(cached * s.kv_heads * s.head_dim, 6)};
    const auto reference = run(c, s, cached, cached, GetParam(), Isa::scalar, 1, 1000);
    for (Isa isa : runnable_sets()) {
      EXPECT_TRUE(same_bits(run(c, s, cached, cached, GetParam(), isa, 3, 7), reference)) << isa_name(isa);
      for (std::size_t tokens : {1u, 2u, 17u, 100u}) {
        const std::size_t tail = tokens * s.heads * s.head_dim;
        EXPECT_TRUE(
            same_bits(run(c, s, cached, tokens, GetParam(), isa, 2, 1), {reference.end() - static_cast<std::ptrdiff_t>(tail), reference.end()}))
            << isa_name(isa) << ", tokens " << tokens;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Attention, ::testing::Values(KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0), [](const auto& param_info) {
  return std::string(std::array{"f32", "f16", "q8_0", "q4_0"}[static_cast<std::size_t>(param_info.param)]);
});

TEST(KvLayer, SaysHowManyBytesItKeeps) {
  const std::uint64_t f16 = KvLayer(128, 2, 64, KvType::f16).resident_bytes(), q8 = KvLayer(128, 2, 64, KvType::q8_0).resident_bytes(),
                      q4 = KvLayer(128, 2, 64, KvType::q4_0).resident_bytes();
  EXPECT_EQ(f16, 128u * 2 * 64 * 2 * 2);
  EXPECT_EQ(q8 * 16, f16 * 17 / 2);
  EXPECT_EQ(q4 * 16, f16 * 9 / 2);
}

TEST(Attention, LargeScoresDoNotOverflow) {
  const Shape s{1, 1, 16};
  Case c{std::vector<float>(16, 100.0f), std::vector<float>(3 * 16, 100.0f), std::vector<float>(3 * 16, 2.0f)};
  for (Isa isa : runnable_sets())
    for (float x : run(c, s, 3, 1, KvType::f32, isa, 1, 3)) EXPECT_EQ(x, 2.0f) << isa_name(isa);
}

}  // namespace
}  // namespace nibble
