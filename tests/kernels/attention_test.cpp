// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/attention.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "base/half.h"
#include "base/random.h"
#include "kernels/attention/kv_layout.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// Some beyond every score, some below, one that adds nothing.
constexpr float kSinks[] = {0.5f, -1.0f, 30.0f, 2.0f, -200.0f, 6.0f, 0.0f, 1.5f};

struct Shape {
  std::size_t heads, kv_heads, head_dim, window = 0;
  float soft_cap = 0;
  bool has_sinks = false;
  AttentionRule rule() const {
    return {heads, 1 / std::sqrt(static_cast<float>(head_dim)), window, soft_cap, has_sinks ? kSinks : nullptr};
  }
};

struct Case {
  std::vector<float> q, k, v;
};

// Stores `cached` positions in pieces, then asks for the last `tokens` of them. What no query sees any more is given up
// on the way.
std::vector<float> run(const Case& c, const Shape& s, std::size_t cached, std::size_t tokens, KvType type, Isa isa,
                       std::size_t threads, std::size_t piece) {
  Machine machine(isa, threads);
  KvLayer layer(cached, s.kv_heads, s.head_dim, type);
  const std::size_t width = s.kv_heads * s.head_dim, out_width = s.heads * s.head_dim;
  for (std::size_t p = 0; p < cached; p += piece) {
    const AttentionPiece stored{
        &layer, p, std::min(piece, cached - p), nullptr, c.k.data() + p * width, c.v.data() + p * width, nullptr};
    store_keys_values(std::span(&stored, 1), machine.pool);
    const std::size_t next = std::min(p + piece, cached - tokens);
    if (s.window != 0) layer.keep(next < s.window ? 0 : next + 1 - s.window, cached);
  }
  const GuardedBuffer<float> q(
      std::vector<float>(c.q.end() - static_cast<std::ptrdiff_t>(tokens * out_width), c.q.end())),
      out(tokens * out_width);
  const AttentionPiece asked{&layer, cached - tokens, tokens, q.data(), nullptr, nullptr, out.data()};
  attention(std::span(&asked, 1), s.rule(), machine);
  return out.copy();
}

// A group of 32 (or fewer, at the end of a head) as the quantized caches keep it: codes times an f16 scale. 8 bits: the
// scale is amax / 127. 4 bits: the number of largest magnitude is given the code -8. Each number is at most half a step
// from what is kept, give or take the rounding of the scale (2^-11 of it, times the code); with 4 bits a whole step
// where 8 would be needed and 7 is the largest.
void keep_group(float* x, std::size_t count, KvType type) {
  float extreme = 0;
  for (std::size_t i = 0; i < count; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  const bool eight = kv_code_bits(type) == 8;
  const float scale = f16_to_f32(f32_to_f16(eight ? std::fabs(extreme) / 127.0f : extreme / -8.0f)),
              inverse = scale != 0 ? 1.0f / scale : 0.0f;
  for (std::size_t i = 0; i < count; ++i) {
    const float code = std::nearbyint(std::clamp(x[i] * inverse, eight ? -127.0f : -8.0f, eight ? 127.0f : 7.0f)),
                kept = code * scale;
    const double step = std::fabs(static_cast<double>(scale)), largest = eight ? 127 : 8;
    EXPECT_LE(std::fabs(static_cast<double>(kept - x[i])),
              step * ((code == 7 && !eight ? 1 : 0.5) + 1.01 * largest * 0x1p-11));
    x[i] = kept;
  }
}

// What a cache of this type gives back for heads of `head_dim` numbers.
std::vector<float> kept_numbers(std::vector<float> x, std::size_t head_dim, KvType type) {
  for (std::size_t head = 0; head < x.size(); head += head_dim)
    if (kv_code_bits(type) != 0)
      for (std::size_t d = 0; d < head_dim; d += 32)
        keep_group(&x[head + d], std::min<std::size_t>(32, head_dim - d), type);
  if (type == KvType::f16)
    for (float& value : x) value = f16_to_f32(f32_to_f16(value));
  return x;
}

std::vector<float> rotated(std::vector<float> x, std::size_t head_dim, KvType type) {
  const HeadRotation rotation(head_dim, type);
  for (std::size_t head = 0; head < x.size(); head += head_dim) rotation.turn(&x[head]);
  return x;
}

// Element (i, j) of the matrix that a type turns values by, from its definition: Sylvester's matrix in each run of the
// largest power of two, behind the signs that follow from the head dimension.
double rotation_element(std::size_t i, std::size_t j, std::size_t head_dim) {
  const std::size_t run = head_dim & (~head_dim + 1);
  if (i / run != j / run) return 0;
  Random random(head_dim);
  for (std::size_t draw = 0; draw < j; ++draw) random.next();
  const bool is_negative = (std::popcount(i % run & j % run) % 2 != 0) != (random.next() >> 63 != 0);
  return (is_negative ? -1 : 1) / std::sqrt(static_cast<double>(run));
}

// Queries as they meet the keys of a quantized cache: 8-bit codes times amax / 127 of each group, in f32.
std::vector<float> coded_queries(std::vector<float> x, std::size_t head_dim) {
  for (std::size_t head = 0; head < x.size(); head += head_dim)
    for (std::size_t d = 0; d < head_dim; d += 32) {
      const std::span<float> group(&x[head + d], std::min<std::size_t>(32, head_dim - d));
      float top = 0;
      for (float value : group) top = std::max(top, std::fabs(value));
      for (float& value : group) value = top == 0 ? 0 : std::nearbyint(value * (127.0f / top)) * (top / 127.0f);
    }
  return x;
}

class Attention : public ::testing::TestWithParam<KvType> {};

// What rounding the weights of a quantized cache can add to each output of one query, relative to nothing: they are
// multiples of a / 65280 where a is the largest weight times scale of the chunk, rounded to nearest (and by a few units
// in the last place of 65280 more: 0.52 in all), and meet codes of at most 127 or 8. scores: of the positions seen;
// scales: [kv_heads, positions], the largest of a position's groups.
double rounded_weights_bound(const std::vector<double>& weights, const double* scales, KvType type) {
  double bound = 0;
  for (std::size_t start = 0; start < weights.size(); start += 64) {
    const std::size_t n = std::min<std::size_t>(64, weights.size() - start);
    double largest = 0;
    for (std::size_t j = start; j < start + n; ++j) largest = std::max(largest, weights[j] * scales[j]);
    bound += largest / 65280 * 0.52 * static_cast<double>(n) * (kv_code_bits(type) == 8 ? 127 : 8);
  }
  return bound;
}

// The exact weights of one query and what its scores can be off by. sink: null for none.
struct Scores {
  std::vector<double> weights;
  double most = 0;  // of sum |q k|
  Scores(const float* q, const std::vector<float>& k, std::size_t seen, std::size_t kv, double scale, const Shape& s,
         const float* sink)
      : weights(seen) {
    double top = -1e300, sum = 0;
    const std::size_t first = s.window == 0 || seen < s.window ? 0 : seen - s.window;
    for (std::size_t j = first; j < seen; ++j) {
      double magnitude = 0;
      for (std::size_t d = 0; d < s.head_dim; ++d) {
        const double term = static_cast<double>(q[d]) * static_cast<double>(k[(j * s.kv_heads + kv) * s.head_dim + d]);
        weights[j] += term;
        magnitude += std::fabs(term);
      }
      most = std::max(most, magnitude);
      weights[j] *= scale;
      const auto cap = static_cast<double>(s.soft_cap);
      if (cap != 0) weights[j] = cap * std::tanh(weights[j] / cap);
      top = std::max(top, weights[j]);
    }
    if (sink != nullptr) {
      top = std::max(top, static_cast<double>(*sink));
      sum = std::exp(static_cast<double>(*sink) - top);
      most = std::max(most, std::fabs(static_cast<double>(*sink)) / scale);
    }
    for (std::size_t j = first; j < seen; ++j) sum += weights[j] = std::exp(weights[j] - top);
    for (double& x : weights) x /= sum;
  }
};

// Against softmax in double over exactly what the cache keeps (and, where it is quantized, over the coded queries), so
// that only f32 arithmetic is left: u = 2^-24, gamma_k = k u / (1 - k u). Scores: chains of head_dim terms, products by
// the scale and by log2 e and the largest one subtracted move each by at most d = scale gamma_{head_dim + 6} sum |q k|,
// and a soft cap by 2^-21 of itself besides. Powers of two are within 6 u relative, and so their ratios by e^{2 d} (1 +
// 12 u); merging chunks and spans scales every term again, at most twice for each chunk, by factors within 8 u. Sums of
// n terms and the division add gamma_{n + 1} twice. All is relative to sum of w |v|. Quantized caches round the weights
// besides. Values that are turned are gathered so; what is turned back has the errors of its run, and of log2(run)
// additions and a product.
void expect_exact(const Shape& s, std::size_t cached, std::size_t tokens, const Case& c, KvType type, Isa isa) {
  const bool quantized = kv_code_bits(type) != 0, turned = turns_values(type);
  const auto given = quantized ? rotated(c.q, s.head_dim, type) : c.q,
             q = quantized ? coded_queries(given, s.head_dim) : given;
  const auto k = kept_numbers(quantized ? rotated(c.k, s.head_dim, type) : c.k, s.head_dim, type),
             v = kept_numbers(turned ? rotated(c.v, s.head_dim, type) : c.v, s.head_dim, type);
  std::vector<double> back(turned ? s.head_dim * s.head_dim : 0);  // transposed
  for (std::size_t i = 0; i < back.size(); ++i) back[i] = rotation_element(i / s.head_dim, i % s.head_dim, s.head_dim);
  const double scale = static_cast<double>(1 / std::sqrt(static_cast<float>(s.head_dim)));
  const auto got = run(c, s, cached, tokens, type, isa, 2, 1000);
  const auto value = [&](std::size_t j, std::size_t kv, std::size_t d) {
    return static_cast<double>(v[(j * s.kv_heads + kv) * s.head_dim + d]);
  };
  std::vector<double> scales(s.kv_heads * cached);
  for (std::size_t kv = 0; kv < s.kv_heads; ++kv)
    for (std::size_t j = 0; j < cached; ++j)  // of the group's largest value, to within a code's rounding
      for (std::size_t d = 0; d < s.head_dim; ++d)
        scales[kv * cached + j] =
            std::max(scales[kv * cached + j], 1.01 * std::fabs(value(j, kv, d)) / (kv_code_bits(type) == 8 ? 127 : 8));
  constexpr double kUnit = 0x1p-24;
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t h = 0; h < s.heads; ++h) {
      const std::size_t kv = h / (s.heads / s.kv_heads), seen = cached - tokens + t + 1;
      const std::size_t at = ((cached - tokens + t) * s.heads + h) * s.head_dim;
      const Scores scores(&q[at], k, seen, kv, scale, s, s.has_sinks ? &kSinks[h] : nullptr);
      const double capped = static_cast<double>(s.soft_cap) * 0x1p-21, n = static_cast<double>(seen);
      const double moved = scale * static_cast<double>(s.head_dim + 6) * kUnit * 1.01 * scores.most + capped;
      const double relative = std::expm1(2 * moved + (12 + 16 * std::ceil(n / 64) + 2 * (n + 1)) * kUnit * 1.01);
      const double rounded =
          quantized ? rounded_weights_bound(scores.weights, &scales[kv * cached], type) * (1 + relative) : 0;
      std::vector<double> exact(s.head_dim), bound(s.head_dim);
      for (std::size_t d = 0; d < s.head_dim; ++d) {
        double weighted = 0;
        for (std::size_t j = 0; j < seen; ++j) {
          exact[d] += scores.weights[j] * value(j, kv, d);
          weighted += scores.weights[j] * std::fabs(value(j, kv, d));
        }
        bound[d] = relative * weighted + rounded + 1e-30;
      }
      if (turned) {
        const auto gathered = std::exchange(exact, std::vector<double>(s.head_dim)),
                   off = std::exchange(bound, std::vector<double>(s.head_dim));
        for (std::size_t i = 0; i < s.head_dim; ++i)
          for (std::size_t d = 0; d < s.head_dim; ++d) {
            const double element = back[i * s.head_dim + d];
            exact[d] += element * gathered[i];
            bound[d] += std::fabs(element) * (off[i] + 12 * kUnit * std::fabs(gathered[i]));
          }
      }
      for (std::size_t d = 0; d < s.head_dim; ++d) {
        ASSERT_NEAR(got[(t * s.heads + h) * s.head_dim + d], exact[d], bound[d])
            << "cached " << cached << ", dim " << s.head_dim << ", heads " << s.heads << ", token " << t << ", head "
            << h << ", element " << d;
      }
    }
}

Case normal_case(const Shape& s, std::size_t cached, std::uint64_t seed) {
  return {normal_numbers(cached * s.heads * s.head_dim, seed),
          normal_numbers(cached * s.kv_heads * s.head_dim, seed + 1),
          normal_numbers(cached * s.kv_heads * s.head_dim, seed + 2)};
}

TEST_P(Attention, AgreesWithExactArithmetic) {
  constexpr Shape kShapes[] = {{4, 2, 16}, {3, 3, 8},  {6, 1, 48},  {2, 1, 64},
                               {5, 1, 32}, {7, 1, 80}, {8, 1, 128}, {2, 2, 256}};
  for (const Shape& s : kShapes)
    for (std::size_t cached : {1u, 5u, 64u, 65u, 200u})
      expect_exact(s, cached, cached, normal_case(s, cached, 1), GetParam(), runnable_sets().back());
}

// Positions beyond the first span, in blocks of many tokens and of one.
TEST_P(Attention, AgreesWithExactArithmeticInLongContexts) {
  const Shape s{4, 1, 32};
  for (std::size_t cached : {1024u, 1025u, 2100u})
    for (std::size_t tokens : {1u, 12u, 40u})
      expect_exact(s, cached, tokens, normal_case(s, cached, 11), GetParam(), runnable_sets().back());
}

// Windows shorter and longer than chunks and spans, soft caps that bite, and both.
TEST_P(Attention, AgreesWithExactArithmeticWithinWindowsAndUnderCaps) {
  constexpr Shape kShapes[] = {{4, 2, 16, 1},   {4, 2, 16, 7},       {3, 1, 32, 64},       {2, 2, 64, 65},
                               {4, 2, 16, 150}, {4, 1, 32, 0, 2.0f}, {6, 2, 48, 30, 0.5f}, {2, 1, 256, 100, 50.0f}};
  for (const Shape& s : kShapes)
    for (std::size_t cached : {1u, 8u, 130u, 200u})
      expect_exact(s, cached, cached, normal_case(s, cached, 5), GetParam(), runnable_sets().back());
  for (const Shape& s : {Shape{4, 1, 32, 100}, Shape{4, 1, 32, 1030, 3.0f}})
    for (std::size_t tokens : {1u, 12u, 40u})
      expect_exact(s, 2100, tokens, normal_case(s, 2100, 12), GetParam(), runnable_sets().back());
}

// A sink joins once, however long the context is and whatever the window.
TEST_P(Attention, AgreesWithExactArithmeticWithSinks) {
  for (const Shape& s : {Shape{4, 2, 16, 0, 0, true}, Shape{8, 1, 64, 7, 0, true}, Shape{6, 2, 48, 30, 0.5f, true}})
    for (std::size_t cached : {1u, 8u, 130u, 200u})
      expect_exact(s, cached, cached, normal_case(s, cached, 6), GetParam(), runnable_sets().back());
  for (const Shape& s : {Shape{4, 1, 32, 0, 0, true}, Shape{4, 1, 32, 1030, 0, true}})
    for (std::size_t tokens : {1u, 12u, 40u})
      expect_exact(s, 2100, tokens, normal_case(s, 2100, 13), GetParam(), runnable_sets().back());
}

// Keys, values and queries that are all of one large magnitude make the largest integers there can be, and weights that
// are all the same or one.
TEST_P(Attention, HoldsTheLargestNumbers) {
  const Shape s{2, 1, 64};
  const std::size_t cached = 130;
  // What is turned is up to 8 times as large; turned back, 64 numbers that are a whole step off add up to 8 steps.
  const float off = turns_values(GetParam()) ? 64.0f / (kv_code_bits(GetParam()) == 8 ? 127.0f : 8.0f) : 0.001f;
  for (const float magnitude : {0.5f, 100.0f, 3000.0f})
    for (const std::size_t period : {1u, 2u, 3u}) {
      Case c = normal_case(s, cached, 21);
      for (auto* numbers : {&c.q, &c.k, &c.v})
        for (std::size_t i = 0; i < numbers->size(); ++i)
          (*numbers)[i] = (i / s.head_dim + i) % period == 0 ? magnitude : -magnitude;
      for (Isa isa : runnable_sets()) {
        const auto got = run(c, s, cached, cached, GetParam(), isa, 2, 1000);
        EXPECT_TRUE(same_bits(got, run(c, s, cached, cached, GetParam(), Isa::scalar, 1, 1000))) << isa_name(isa);
        for (float x : got) ASSERT_LE(std::fabs(x), magnitude * (1.001f + off)) << isa_name(isa);
      }
      if (period != 1) continue;
      for (float x : run(c, s, cached, 1, GetParam(), Isa::scalar, 1, 1000))
        ASSERT_NEAR(x, magnitude, magnitude * off);
    }
}

// y[i] = sum over j of (-1)^popcount(i & j) x[j] / sqrt(run) in each run of a power of two. log2(run) additions and a
// product by a rounded factor: within gamma of that count (and 2), relative to sum |x|.
TEST(Hadamard, IsTheTransformOfEachRunAndKeepsProducts) {
  for (const auto& [size, run] :
       {std::pair<std::size_t, std::size_t>{1, 1}, {48, 16}, {64, 64}, {128, 128}, {80, 16}}) {
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

void expect_same_bits(const Shape& s, std::size_t cached, KvType type,
                      std::initializer_list<std::size_t> token_counts) {
  const Case c = normal_case(s, cached, 4);
  const std::size_t most = *std::max_element(token_counts.begin(), token_counts.end());
  const auto reference = run(c, s, cached, most, type, Isa::scalar, 1, 1000);
  for (Isa isa : runnable_sets())
    for (std::size_t tokens : token_counts) {
      const std::size_t tail = tokens * s.heads * s.head_dim;
      const std::vector<float> expected(reference.end() - static_cast<std::ptrdiff_t>(tail), reference.end());
      EXPECT_TRUE(same_bits(run(c, s, cached, tokens, type, isa, tokens % 3 + 1, tokens), expected))
          << isa_name(isa) << ", tokens " << tokens << ", dim " << s.head_dim;
    }
}

TEST_P(Attention, SameBitsForAnySetBatchThreadsAndStorePieces) {
  for (const Shape s : {Shape{4, 2, 16}, Shape{5, 1, 40}, Shape{8, 2, 64}, Shape{3, 1, 128}, Shape{14, 2, 64}})
    expect_same_bits(s, 150, GetParam(), {1, 2, 7, 17, 100, 150});
}

// Blocks of many tokens go through all spans, single ones are cut at them.
TEST_P(Attention, SameBitsInLongContexts) { expect_same_bits({4, 2, 32}, 2100, GetParam(), {1, 2, 12, 13, 40}); }

TEST_P(Attention, SameBitsWithinWindowsAndUnderCaps) {
  for (const Shape s : {Shape{4, 2, 16, 5}, Shape{5, 1, 40, 64, 1.0f}, Shape{8, 2, 64, 100}})
    expect_same_bits(s, 150, GetParam(), {1, 2, 7, 17, 100, 150});
  for (const Shape s : {Shape{4, 2, 32, 40}, Shape{4, 2, 32, 1100, 2.0f}})
    expect_same_bits(s, 2100, GetParam(), {1, 2, 12, 13, 40, 1200});
}

TEST_P(Attention, SameBitsWithSinks) {
  for (const Shape s : {Shape{4, 2, 16, 0, 0, true}, Shape{5, 1, 40, 64, 0, true}})
    expect_same_bits(s, 150, GetParam(), {1, 2, 7, 17, 100, 150});
  for (const Shape s : {Shape{4, 2, 32, 0, 0, true}, Shape{4, 2, 32, 1100, 0, true}})
    expect_same_bits(s, 2100, GetParam(), {1, 2, 12, 13, 40, 1200});
}

// Pieces of several sequences, long and short, in one call.
void expect_sequences_apart(const Shape& s, KvType type) {
  const std::size_t lengths[] = {1500, 70, 2100, 1}, tokens[] = {1, 20, 2, 1}, width = s.heads * s.head_dim;
  Machine machine(Isa::scalar, 3);
  std::vector<KvLayer> layers;
  std::vector<AttentionPiece> pieces;
  std::vector<std::vector<float>> outs;
  std::vector<Case> cases;
  for (std::size_t i = 0; i < 4; ++i) {
    cases.push_back(normal_case(s, lengths[i], 30 + i));
    layers.emplace_back(lengths[i], s.kv_heads, s.head_dim, type);
    outs.emplace_back(tokens[i] * width);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    const AttentionPiece stored{&layers[i], 0, lengths[i], nullptr, cases[i].k.data(), cases[i].v.data(), nullptr};
    store_keys_values(std::span(&stored, 1), machine.pool);
    const std::size_t position = lengths[i] - tokens[i];
    pieces.push_back(
        {&layers[i], position, tokens[i], &cases[i].q[position * width], nullptr, nullptr, outs[i].data()});
  }
  const Isa isa = runnable_sets().back();
  attention(pieces, s.rule(), with_set(machine, isa));
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_TRUE(same_bits(outs[i], run(cases[i], s, lengths[i], tokens[i], type, isa, 1, 1000))) << i;
}

TEST_P(Attention, SequencesDoNotSeeEachOther) {
  for (const Shape& s : {Shape{4, 2, 32}, Shape{4, 2, 32, 1100, 2.0f}, Shape{4, 2, 32, 30, 0, true}})
    expect_sequences_apart(s, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Types, Attention,
                         ::testing::Values(KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0, KvType::q8_0_rotated,
                                           KvType::q4_0_rotated),
                         [](const auto& param_info) {
                           std::string name(kv_type_name(param_info.param));
                           std::ranges::replace(name, ':', '_');
                           return name;
                         });

// Signs of an independent xoshiro256** seeded with 16: a unit vector becomes a signed column of Sylvester's matrix.
TEST(HeadRotation, HasTheSignsOfItsDimensionAndGoesBack) {
  constexpr std::string_view kSigns = "-+-+---+++-+----";
  for (std::size_t j = 0; j < 16; ++j) {
    std::vector<float> x(16);
    x[j] = 1;
    const HeadRotation rotation(16, KvType::q4_0_rotated);
    rotation.turn(x.data());
    for (std::size_t i = 0; i < 16; ++i)
      EXPECT_EQ(x[i], (std::popcount(i & j) % 2 == 0) == (kSigns[j] == '+') ? 0.25f : -0.25f) << i << ' ' << j;
    rotation.turn_back(x.data());
    for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(x[i], i == j ? 1.0f : 0.0f);
  }
}

// One channel of each head's values is sixty times the others: codes of the others that share its scale are all zero
// unless values are turned.
TEST(HeadRotation, KeepsValuesBesideAnOutlier) {
  const Shape s{2, 1, 32};
  Case c = normal_case(s, 100, 8);
  for (std::size_t i = 5; i < c.v.size(); i += 32) c.v[i] = 60;
  const auto exact = run(c, s, 100, 100, KvType::f32, Isa::scalar, 1, 100);
  const auto lost = [&](KvType type) {
    const auto got = run(c, s, 100, 100, type, Isa::scalar, 1, 100);
    double sum = 0;
    for (std::size_t i = 0; i < got.size(); ++i)
      if (i % 32 != 5) sum += std::pow(static_cast<double>(got[i] - exact[i]), 2);
    return sum;
  };
  EXPECT_LT(lost(KvType::q4_0_rotated) * 2, lost(KvType::q4_0));
}

TEST(KvLayer, NamesHeadsThatCannotBeTurned) {
  for (const KvType type : {KvType::q4_0_rotated, KvType::q8_0_rotated}) try {
      require_rotation(70, type);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unsupported);
      EXPECT_NE(std::string(error.what()).find("dimensions: 70"), std::string::npos) << error.what();
    }
  require_rotation(100, KvType::q4_0_rotated);
  require_rotation(70, KvType::q4_0);
}

TEST(KvLayer, SaysHowManyBytesPositionsTake) {
  const std::uint64_t f16 = KvLayer::bytes_of(128, 2, 64, KvType::f16);
  EXPECT_EQ(f16, 128u * 2 * 64 * 2 * 2);
  EXPECT_EQ(KvLayer::bytes_of(128, 2, 64, KvType::q8_0) * 16, f16 * 17 / 2);
  EXPECT_EQ(KvLayer::bytes_of(128, 2, 64, KvType::q4_0) * 16, f16 * 9 / 2);
  EXPECT_EQ(KvLayer::bytes_of(1, 2, 64, KvType::f16) * 2, f16);  // whole chunks of 64
}

// Pages come with what is stored, and go with what is given up: the next ones are those.
TEST(KvLayer, HasThePagesOfWhatItKeeps) {
  constexpr std::size_t kCapacity = 5 * kKvPage + 10;
  const std::uint64_t page = KvLayer::bytes_of(kKvPage, 2, 64, KvType::q8_0);
  KvLayer layer(kCapacity, 2, 64, KvType::q8_0);
  EXPECT_EQ(layer.resident_bytes(), 0u);
  layer.make_room(0, 1);
  EXPECT_EQ(layer.resident_bytes(), page);
  layer.make_room(1, 2 * kKvPage + 1);
  EXPECT_EQ(layer.resident_bytes(), 3 * page);
  const std::byte* const first = layer.state().keys(0, 0);
  layer.keep(kKvPage - 1, 2 * kKvPage + 1);  // a position of the first page is kept
  layer.make_room(2 * kKvPage + 1, 3 * kKvPage);
  EXPECT_EQ(layer.resident_bytes(), 3 * page);
  EXPECT_EQ(layer.state().keys(0, 0), first);
  layer.keep(kKvPage, 3 * kKvPage);
  layer.make_room(3 * kKvPage, 4 * kKvPage);
  EXPECT_EQ(layer.resident_bytes(), 3 * page);
  EXPECT_EQ(layer.state().keys(0, 3 * kPageChunks), first);
  // Back to the beginning, as for another text.
  layer.keep(0, 0);
  layer.make_room(0, kKvPage);
  EXPECT_EQ(layer.resident_bytes(), 3 * page);
  // The last page is as long as what is left of the capacity, or one that waited.
  layer.make_room(kKvPage, kCapacity);
  EXPECT_EQ(layer.resident_bytes(), 5 * page + KvLayer::bytes_of(10, 2, 64, KvType::q8_0));
}

TEST(Attention, LargeScoresDoNotOverflow) {
  const Shape s{1, 1, 16};
  Case c{std::vector<float>(16, 100.0f), std::vector<float>(3 * 16, 100.0f), std::vector<float>(3 * 16, 2.0f)};
  for (Isa isa : runnable_sets())
    for (float x : run(c, s, 3, 1, KvType::f32, isa, 1, 3)) EXPECT_EQ(x, 2.0f) << isa_name(isa);
}

}  // namespace
}  // namespace nibble
