// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "base/half.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/linear/linear.h"

namespace nibble {
namespace {

QuantizedTensor raw_matrix(DType dtype, std::uint64_t rows, std::uint64_t cols, const std::vector<float>& values) {
  QuantizedTensor tensor(find_raw_format(dtype), rows, cols);
  std::byte* out = tensor.planes[0].data();
  for (float value : values) {
    if (dtype == DType::f32) {
      std::memcpy(out, &value, 4);
    } else {
      const std::uint16_t bits = dtype == DType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
      std::memcpy(out, &bits, 2);
    }
    out += dtype_size(dtype);
  }
  return tensor;
}

std::vector<float> product(const QuantizedView& view, Isa isa, const std::vector<float>& x, std::size_t tokens,
                           std::size_t threads, ActivationMode mode = ActivationMode::f32) {
  Machine machine(isa, threads);
  const PackedLinear packed = PackedLinear::pack(view, {mode}, machine);
  const GuardedBuffer<float> in(x), out(tokens * static_cast<std::size_t>(view.rows));
  packed.multiply(in.data(), tokens, out.data(), machine);
  return out.copy();
}

class RawProduct : public ::testing::TestWithParam<DType> {};

TEST_P(RawProduct, AgreesWithExactArithmeticAndAmongSets) {
  struct Size {
    std::uint64_t rows, cols;
  };
  for (const Size size : {Size{1, 1}, {3, 17}, {64, 64}, {65, 255}, {130, 257}, {100, 600}}) {
    const auto values = normal_numbers(static_cast<std::size_t>(size.rows * size.cols), size.rows + size.cols);
    const QuantizedTensor tensor = raw_matrix(GetParam(), size.rows, size.cols, values);
    const std::vector<float> stored = tensor.view().decode();
    for (std::size_t tokens : {1u, 2u, 3u, 5u, 6u, 7u, 13u}) {
      const auto x = normal_numbers(tokens * static_cast<std::size_t>(size.cols), tokens);
      const auto reference = product(tensor.view(), Isa::scalar, x, tokens, 1);
      ASSERT_TRUE(near_exact(reference, x, stored, static_cast<std::size_t>(size.rows), chain_bound(size.cols)));
      for (Isa isa : runnable_sets())
        for (std::size_t threads : {1u, 3u})
          EXPECT_TRUE(same_bits(product(tensor.view(), isa, x, tokens, threads), reference))
              << isa_name(isa) << ' ' << size.rows << 'x' << size.cols << ", tokens " << tokens << ", threads "
              << threads;
    }
  }
}

TEST_P(RawProduct, AnyBatchGivesEachTokenTheSameBits) {
  constexpr std::size_t kRows = 70, kCols = 300;
  const QuantizedTensor tensor = raw_matrix(GetParam(), kRows, kCols, normal_numbers(kRows * kCols, 5));
  for (Isa isa : runnable_sets()) {
    if (isa == Isa::scalar) continue;
    const auto x = normal_numbers(40 * kCols, 6);
    const auto whole = product(tensor.view(), isa, x, 40, 2);
    for (std::size_t tokens = 1; tokens <= 40; ++tokens) {
      const std::size_t first = 40 - tokens;
      const auto part =
          product(tensor.view(), isa, {x.begin() + static_cast<std::ptrdiff_t>(first * kCols), x.end()}, tokens, 1);
      EXPECT_TRUE(same_bits(part, {whole.begin() + static_cast<std::ptrdiff_t>(first * kRows), whole.end()}))
          << isa_name(isa) << ", tokens " << tokens;
    }
  }
}

TEST_P(RawProduct, DecodesRowsExactly) {
  const QuantizedTensor tensor = raw_matrix(GetParam(), 67, 45, normal_numbers(67 * 45, 9));
  Machine machine(Isa::scalar, 2);
  const PackedLinear packed =
      PackedLinear::pack(tensor.view(), {ActivationMode::automatic}, with_set(machine, runnable_sets().back()));
  EXPECT_EQ(packed.rows(), 67u);
  EXPECT_EQ(packed.cols(), 45u);
  std::vector<float> row(45), expected(45);
  for (std::uint64_t r = 0; r < 67; ++r) {
    packed.decode_row(r, row.data());
    tensor.view().decode_row(r, expected);
    EXPECT_TRUE(same_bits(row, expected)) << "row " << r;
  }
}

// Inputs and weights rounded to bf16 (8 significant bits: 2^-8 each, relative), then one rounding for each of K
// products: at most (2 * 2^-8 + 2^-16 + gamma_K) * sum |x| |w|; what is rounded to zero as subnormal is far below that.
TEST_P(RawProduct, Bf16StaysWithinItsBoundAndGivesTheSameBitsForAnyBatchAndThreads) {
  constexpr std::size_t kRows = 70, kMost = 13;
  for (std::size_t cols : {std::size_t{1}, std::size_t{45}, std::size_t{600}}) {
    const QuantizedTensor tensor = raw_matrix(GetParam(), kRows, cols, normal_numbers(kRows * cols, 21));
    const auto w = tensor.view().decode(), x = normal_numbers(kMost * cols, 22);
    for (Isa isa : runnable_sets()) {
      const auto whole = product(tensor.view(), isa, x, kMost, 1, ActivationMode::bf16);
      ASSERT_TRUE(near_exact(whole, x, w, kRows, 0x1p-7 + 0x1p-16 + chain_bound(cols)))
          << isa_name(isa) << ", cols " << cols;
      for (std::size_t tokens : {1u, 2u, 6u, 8u}) {
        const auto part =
            product(tensor.view(), isa, {x.begin(), x.begin() + static_cast<std::ptrdiff_t>(tokens * cols)}, tokens, 3,
                    ActivationMode::bf16);
        EXPECT_TRUE(same_bits(part, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(tokens * kRows)}))
            << isa_name(isa) << ", tokens " << tokens;
      }
    }
  }
}

// Weights that are bf16 stay exact, so that only activations are rounded: by 2^-8, relative. Natively f16 and f32 would
// lose bits and are multiplied in f32, bit for bit.
TEST_P(RawProduct, OnlyActivationsAreRoundedAndNothingWhereWeightsAreNotBf16) {
  constexpr std::size_t kRows = 67, kTokens = 7;
  for (const ActivationMode mode : {ActivationMode::native, ActivationMode::bf16})
    for (std::size_t cols : {std::size_t{2}, std::size_t{45}, std::size_t{600}}) {
      const QuantizedTensor tensor = raw_matrix(GetParam(), kRows, cols, normal_numbers(kRows * cols, 31));
      const auto w = tensor.view().decode(), x = normal_numbers(kTokens * cols, 32);
      for (Isa isa : runnable_sets()) {
        const auto y = product(tensor.view(), isa, x, kTokens, 2, mode);
        Machine machine(isa, 1);
        const Arithmetic arithmetic = PackedLinear::pack(tensor.view(), {mode}, machine).arithmetic();
        if (arithmetic == Arithmetic::f32) {
          EXPECT_TRUE(same_bits(y, product(tensor.view(), isa, x, kTokens, 1))) << isa_name(isa);
          continue;
        }
        if (GetParam() != DType::bf16) {
          EXPECT_EQ(mode, ActivationMode::bf16);
          continue;
        }
        ASSERT_TRUE(near_exact(y, x, w, kRows, 0x1p-8 + (1 + 0x1p-8) * chain_bound(cols)))
            << isa_name(isa) << ", cols " << cols;
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Types, RawProduct, ::testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& param_info) { return std::string(dtype_name(param_info.param)); });

// The largest bf16 times what keeps the sum of 64 of them finite, and rows and activations of zeros.
TEST(RawProductLargest, Bf16ProductsOfLargestMagnitudes) {
  constexpr std::size_t kRows = 3, kCols = 64;
  std::vector<float> w(kRows * kCols, 0.0f), x(2 * kCols, 0.0f);
  for (std::size_t k = 0; k < kCols; ++k) {
    w[k] = 0x1.fep127f;
    w[kCols + k] = -0x1.fep127f;
    x[k] = 0x1p-7f;
  }
  const QuantizedTensor tensor = raw_matrix(DType::bf16, kRows, kCols, w);
  for (Isa isa : runnable_sets()) {
    for (const ActivationMode mode : {ActivationMode::native, ActivationMode::bf16})
      EXPECT_EQ(product(tensor.view(), isa, x, 2, 1, mode), (std::vector<float>{0x1.fep126f, -0x1.fep126f, 0, 0, 0, 0}))
          << isa_name(isa);
  }
}

TEST(RawProductLargest, HugeMagnitudesStayFiniteWhereTheExactSumIs) {
  constexpr std::size_t kCols = 128;
  const QuantizedTensor tensor = raw_matrix(DType::f32, 2, kCols, std::vector<float>(2 * kCols, 1e18f));
  for (Isa isa : runnable_sets()) {
    const auto y = product(tensor.view(), isa, std::vector<float>(kCols, 1e18f), 1, 1);
    EXPECT_NEAR(y[1], 128e36, 128 * 0x1p-24 * 128e36) << isa_name(isa);
  }
}

}  // namespace
}  // namespace nibble
