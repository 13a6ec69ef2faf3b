// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <array>
#include <cmath>

#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"

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
    const std::size_t n = std::min(piece, cached - p);
    layer.store(p, n, c.k.data() + p * width, c.v.data() + p * width, isa, pool);
  }
  const GuardedBuffer<float> q(std::vector<float>(c.q.end() - static_cast<std::ptrdiff_t>(tokens * out_width), c.q.end())), out(tokens * out_width);
  attention(q.data(), tokens, s.heads, cached - tokens, 1 / std::sqrt(static_cast<float>(s.head_dim)), layer, out.data(), isa, pool, scratch);
  return out.copy();
}

// Error of the stored numbers, relative to the largest of their group of 32; f32 and f16 are relative to each number.
double storage_error(KvType type) {
  switch (type) {
    case KvType::f32:
      return 0x1p-24;
    case KvType::f16:
      return 0x1p-11;
    case KvType::q8_0:
      return 0.5 / 127 * 1.01;
    case KvType::q4_0:
      return 0.5 / 8 * 1.01;
  }
  return 0;
}

class Attention : public ::testing::TestWithParam<KvType> {};

TEST_P(Attention, AgreesWithExactArithmetic) {
  for (const Shape s : {Shape{4, 2, 16}, Shape{3, 3, 8}, Shape{6, 1, 48}, Shape{2, 1, 64}})
    for (std::size_t cached : {1u, 5u, 64u, 65u, 200u}) {
      const Case c{normal_numbers(cached * s.heads * s.head_dim, 1), normal_numbers(cached * s.kv_heads * s.head_dim, 2),
                   normal_numbers(cached * s.kv_heads * s.head_dim, 3)};
      const double scale = static_cast<double>(1 / std::sqrt(static_cast<float>(s.head_dim)));
      const auto exact = exact_attention(c.q, c.k, c.v, cached, 0, scale, s);
      const auto got = run(c, s, cached, cached, GetParam(), runnable_sets().back(), 2, 1000);
      // With storage error e relative to values of magnitude at most 5: scores move by at most d = scale * |q|_1 * 5 e, weights by a
      // factor e^(+-2d), so the result by (e^(2d) - 1) * 5 + 5 e. Rotation keeps the 2-norm; the 1-norm of q grows by sqrt(dim) at most.
      const double e = storage_error(GetParam());
      for (std::size_t t = 0; t < cached; ++t)
        for (std::size_t h = 0; h < s.heads; ++h) {
          double norm1 = 0;
          for (std::size_t d = 0; d < s.head_dim; ++d) norm1 += std::fabs(static_cast<double>(c.q[(t * s.heads + h) * s.head_dim + d]));
          const double moved = scale * norm1 * 5 * (e + 2e-6), bound = std::expm1(2 * moved) * 5 + 5 * e + 1e-5;
          for (std::size_t d = 0; d < s.head_dim; ++d) {
            const std::size_t i = (t * s.heads + h) * s.head_dim + d;
            ASSERT_NEAR(got[i], exact[i], bound) << "cached " << cached << ", dim " << s.head_dim << ", element " << i;
          }
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
