// SPDX-License-Identifier: Apache-2.0
#include "kernels/vector_ops.h"

#include <cfloat>
#include <cmath>

#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/select.h"

namespace nibble {
namespace {

constexpr double kUnit = 0x1p-24;  // rounding error of one f32 operation, relative
const std::size_t kWidths[] = {1, 2, 15, 16, 17, 31, 64, 100, 255, 256, 1000};

TEST(Exponential, IsAccurateToOneUnitInTheLastPlaceAndTheSameOnAllSets) {
  const KernelTable& reference = kernel_table(Isa::scalar);
  for (double x = -87.3; x <= 88.3; x += 0.0137) {
    const float argument = static_cast<float>(x), value = reference.exponential(argument);
    const double exact = std::exp(static_cast<double>(argument));
    ASSERT_NEAR(value, exact, exact * 0x1p-22) << argument;
    for (Isa isa : runnable_sets())
      ASSERT_EQ(kernel_table(isa).exponential(argument), value) << isa_name(isa) << ' ' << argument;
  }
  for (Isa isa : runnable_sets()) {
    EXPECT_EQ(kernel_table(isa).exponential(0.0f), 1.0f);
    EXPECT_EQ(kernel_table(isa).exponential(-1e30f), 0.0f);
    EXPECT_EQ(kernel_table(isa).exponential(-88.0f), 0.0f);
    EXPECT_TRUE(std::isfinite(kernel_table(isa).exponential(1e30f)));
  }
}

// Relative error: the sum of squares has at most width/16 + 5 roundings in any lane, then five operations follow;
// squares do not cancel.
TEST(RmsNorm, AgreesWithExactArithmeticAndAmongSets) {
  Machine machine(Isa::scalar, 3);
  for (std::size_t width : kWidths) {
    const std::size_t tokens = 5;
    const GuardedBuffer<float> x(normal_numbers(tokens * width, width)), weight(normal_numbers(width, 3)),
        out(tokens * width);
    rms_norm(x.data(), weight.data(), tokens, width, 1e-5f, out.data(), with_set(machine, Isa::scalar));
    const auto reference = out.copy();
    for (std::size_t t = 0; t < tokens; ++t) {
      double squares = 0;
      for (std::size_t i = 0; i < width; ++i) squares += std::pow(static_cast<double>(x.data()[t * width + i]), 2);
      const double factor = 1 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(1e-5f));
      for (std::size_t i = 0; i < width; ++i) {
        const double exact =
            static_cast<double>(x.data()[t * width + i]) * factor * static_cast<double>(weight.data()[i]);
        EXPECT_NEAR(reference[t * width + i], exact, std::fabs(exact) * kUnit * (static_cast<double>(width) / 16 + 12));
      }
    }
    for (Isa isa : runnable_sets()) {
      rms_norm(x.data(), weight.data(), tokens, width, 1e-5f, out.data(), with_set(machine, isa));
      EXPECT_TRUE(same_bits(out.copy(), reference)) << isa_name(isa) << ' ' << width;
    }
  }
}

TEST(SiluMultiply, AgreesWithExactArithmeticAndAmongSets) {
  Machine machine(Isa::scalar, 3);
  for (std::size_t count : {std::size_t{1}, std::size_t{15}, std::size_t{33}, std::size_t{20001}}) {
    const GuardedBuffer<float> gate(normal_numbers(count, 1, 20)), up(normal_numbers(count, 2)), out(count);
    silu_multiply(gate.data(), up.data(), count, out.data(), with_set(machine, Isa::scalar));
    const auto reference = out.copy();
    for (std::size_t i = 0; i < count; ++i) {
      const double g = gate.data()[i], exact = g / (1 + std::exp(-g)) * static_cast<double>(up.data()[i]);
      EXPECT_NEAR(reference[i], exact, std::fabs(exact) * 8 * kUnit + 1e-36)
          << g;  // e^-g within 4 units; sum, quotient, product
    }
    for (Isa isa : runnable_sets()) {
      silu_multiply(gate.data(), up.data(), count, out.data(), with_set(machine, isa));
      EXPECT_TRUE(same_bits(out.copy(), reference)) << isa_name(isa) << ' ' << count;
      const GuardedBuffer<float> aliased(gate.copy());
      silu_multiply(aliased.data(), up.data(), count, aliased.data(), with_set(machine, isa));
      EXPECT_TRUE(same_bits(aliased.copy(), reference)) << isa_name(isa) << ' ' << count;
    }
  }
}

TEST(SigmoidMultiply, AgreesWithExactArithmeticAndAmongSets) {
  Machine machine(Isa::scalar, 3);
  for (std::size_t count : {std::size_t{1}, std::size_t{15}, std::size_t{33}, std::size_t{20001}}) {
    const GuardedBuffer<float> gate(normal_numbers(count, 1, 20)), up(normal_numbers(count, 2)), out(count);
    sigmoid_multiply(gate.data(), up.data(), count, out.data(), with_set(machine, Isa::scalar));
    const auto reference = out.copy();
    for (std::size_t i = 0; i < count; ++i) {
      const double g = gate.data()[i], exact = static_cast<double>(up.data()[i]) / (1 + std::exp(-g));
      EXPECT_NEAR(reference[i], exact, std::fabs(exact) * 8 * kUnit + 1e-36) << g;
    }
    for (Isa isa : runnable_sets()) {
      const GuardedBuffer<float> aliased(gate.copy());
      sigmoid_multiply(aliased.data(), up.data(), count, aliased.data(), with_set(machine, isa));
      EXPECT_TRUE(same_bits(aliased.copy(), reference)) << isa_name(isa) << ' ' << count;
    }
  }
}

// As RmsNorm.
TEST(L2Norm, AgreesWithExactArithmeticAndAmongSets) {
  Machine machine(Isa::scalar, 3);
  for (std::size_t width : kWidths) {
    const std::size_t tokens = 5;
    const GuardedBuffer<float> x(normal_numbers(tokens * width, width));
    const std::vector<float> before = x.copy();
    l2_norm(x.data(), tokens, width, 1e-3f, x.data(), with_set(machine, Isa::scalar));
    const std::vector<float> reference = x.copy();
    for (std::size_t t = 0; t < tokens; ++t) {
      double squares = static_cast<double>(1e-3f);
      for (std::size_t i = 0; i < width; ++i) squares += std::pow(static_cast<double>(before[t * width + i]), 2);
      for (std::size_t i = 0; i < width; ++i) {
        const double exact = static_cast<double>(before[t * width + i]) / std::sqrt(squares);
        EXPECT_NEAR(reference[t * width + i], exact, std::fabs(exact) * kUnit * (static_cast<double>(width) / 16 + 12));
      }
    }
    for (Isa isa : runnable_sets()) {
      const GuardedBuffer<float> again(before);
      l2_norm(again.data(), tokens, width, 1e-3f, again.data(), with_set(machine, isa));
      EXPECT_TRUE(same_bits(again.copy(), reference)) << isa_name(isa) << ' ' << width;
    }
  }
}

TEST(GeluMultiply, AgreesWithExactArithmeticAndAmongSets) {
  Machine machine(Isa::scalar, 3);
  for (std::size_t count : {std::size_t{1}, std::size_t{15}, std::size_t{33}, std::size_t{20001}}) {
    const GuardedBuffer<float> gate(normal_numbers(count, 1, 4)), up(normal_numbers(count, 2)), out(count);
    gelu_multiply(gate.data(), up.data(), count, out.data(), with_set(machine, Isa::scalar));
    const auto reference = out.copy();
    for (std::size_t i = 0; i < count; ++i) {
      const double g = gate.data()[i], u = std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g);
      const double exact = g / 2 * (1 + std::tanh(u)) * static_cast<double>(up.data()[i]);
      // The exponent is rounded three times, which moves e^-2u by 6 |u| units; for large ones the result is 0 in both.
      const double about = g / (1 + std::exp(-2 * u)) * static_cast<double>(up.data()[i]);
      EXPECT_NEAR(reference[i], about, std::fabs(about) * (10 + 8 * std::fabs(u)) * kUnit + 1e-36) << g;
      EXPECT_NEAR(about, exact, 1e-14) << g;
    }
    for (Isa isa : runnable_sets()) {
      const GuardedBuffer<float> aliased(gate.copy());
      gelu_multiply(aliased.data(), up.data(), count, aliased.data(), with_set(machine, isa));
      EXPECT_TRUE(same_bits(aliased.copy(), reference)) << isa_name(isa) << ' ' << count;
    }
  }
}

// e^-x of a product that is rounded moves by |x| units, the exponential itself by 4; what it is made of and with by one
// each.
TEST(ClampedSwiglu, AgreesWithExactArithmeticAndAmongSets) {
  constexpr float kAlpha = 1.702f;
  Machine machine(Isa::scalar, 3);
  for (const float limit : {7.0f, 1.0f})
    for (std::size_t count : {std::size_t{1}, std::size_t{15}, std::size_t{33}, std::size_t{20001}}) {
      const GuardedBuffer<float> gate(normal_numbers(count, 1, 6)), up(normal_numbers(count, 2, 6)), out(count);
      clamped_swiglu(gate.data(), up.data(), count, kAlpha, limit, out.data(), with_set(machine, Isa::scalar));
      const auto reference = out.copy();
      for (std::size_t i = 0; i < count; ++i) {
        const double most = static_cast<double>(limit), g = std::min(static_cast<double>(gate.data()[i]), most),
                     u = std::clamp(static_cast<double>(up.data()[i]), -most, most);
        const double x = static_cast<double>(kAlpha) * g, exact = g / (1 + std::exp(-x)) * (u + 1);
        EXPECT_NEAR(reference[i], exact, std::fabs(exact) * (12 + std::fabs(x)) * kUnit + 1e-36) << g << ' ' << u;
      }
      for (Isa isa : runnable_sets()) {
        const GuardedBuffer<float> aliased(gate.copy());
        clamped_swiglu(aliased.data(), up.data(), count, kAlpha, limit, aliased.data(), with_set(machine, isa));
        EXPECT_TRUE(same_bits(aliased.copy(), reference)) << isa_name(isa) << ' ' << count;
      }
    }
}

TEST(SoftCap, AgreesWithExactArithmeticAndAmongSets) {
  Machine machine(Isa::scalar, 3);
  for (std::size_t count : {std::size_t{1}, std::size_t{15}, std::size_t{33}, std::size_t{20001}})
    for (const float cap : {0.5f, 30.0f}) {
      const auto x = normal_numbers(count, 1, 20);
      const GuardedBuffer<float> out(x);
      soft_cap(out.data(), count, cap, with_set(machine, Isa::scalar));
      const auto reference = out.copy();
      for (std::size_t i = 0; i < count; ++i)
        EXPECT_NEAR(reference[i],
                    static_cast<double>(cap) * std::tanh(static_cast<double>(x[i]) / static_cast<double>(cap)),
                    static_cast<double>(cap) * 0x1p-21)
            << x[i];
      for (Isa isa : runnable_sets()) {
        const GuardedBuffer<float> again(x);
        soft_cap(again.data(), count, cap, with_set(machine, isa));
        EXPECT_TRUE(same_bits(again.copy(), reference)) << isa_name(isa) << ' ' << count;
      }
    }
}

TEST(ScaleInPlace, MultipliesEveryElement) {
  ThreadPool pool(2);
  for (std::size_t count : {std::size_t{1}, std::size_t{70001}}) {
    const auto x = normal_numbers(count, 1);
    const GuardedBuffer<float> scaled(x);
    scale_in_place(scaled.data(), count, 3.5f, pool);
    for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(scaled.data()[i], x[i] * 3.5f) << i;
  }
}

TEST(AddInPlace, AddsEveryElement) {
  Machine machine(Isa::scalar, 2);
  for (std::size_t count : {std::size_t{1}, std::size_t{17}, std::size_t{70001}}) {
    const auto x = normal_numbers(count, 1), y = normal_numbers(count, 2);
    for (Isa isa : runnable_sets()) {
      const GuardedBuffer<float> sum(x), other(y);
      add_in_place(sum.data(), other.data(), count, with_set(machine, isa));
      for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(sum.data()[i], x[i] + y[i]) << isa_name(isa) << ' ' << i;
    }
  }
}

TEST(Rope, RotatesPairsInBothOrdersAndLeavesTheRest) {
  Machine machine(Isa::scalar, 2);
  for (const bool half_split : {true, false})
    for (std::size_t head_dim : {8u, 48u, 64u, 80u})
      for (std::size_t rotary : {head_dim, head_dim / 2}) {
        const std::size_t tokens = 3, heads = 2, half = rotary / 2;
        const auto x = normal_numbers(tokens * heads * head_dim, head_dim);
        std::vector<float> cosine(tokens * half), sine(tokens * half);
        for (std::size_t i = 0; i < cosine.size(); ++i) {
          cosine[i] = static_cast<float>(std::cos(static_cast<double>(i)));
          sine[i] = static_cast<float>(std::sin(static_cast<double>(i)));
        }
        const GuardedBuffer<float> c(cosine), s(sine);
        std::vector<float> reference;
        for (Isa isa : runnable_sets()) {
          const GuardedBuffer<float> out(x);
          rope(out.data(), c.data(), s.data(), tokens, heads, head_dim, rotary, half_split, with_set(machine, isa));
          if (isa == Isa::scalar) reference = out.copy();
          EXPECT_TRUE(same_bits(out.copy(), reference))
              << isa_name(isa) << ' ' << head_dim << ' ' << rotary << ' ' << half_split;
        }
        for (std::size_t t = 0; t < tokens; ++t)
          for (std::size_t h = 0; h < heads; ++h) {
            const std::size_t at = (t * heads + h) * head_dim;
            for (std::size_t i = 0; i < half; ++i) {
              const std::size_t first = half_split ? i : 2 * i, second = half_split ? i + half : 2 * i + 1;
              const double a = x[at + first], b = x[at + second], co = cosine[t * half + i], si = sine[t * half + i];
              const double bound = 2 * kUnit * (std::fabs(a) + std::fabs(b));
              EXPECT_NEAR(reference[at + first], a * co - b * si, bound);
              EXPECT_NEAR(reference[at + second], a * si + b * co, bound);
            }
            for (std::size_t i = rotary; i < head_dim; ++i) EXPECT_EQ(reference[at + i], x[at + i]);
          }
      }
}

}  // namespace
}  // namespace nibble
