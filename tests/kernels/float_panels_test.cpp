// SPDX-License-Identifier: Apache-2.0
//
// Products of small binary floats.
#include <cmath>

#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/linear/linear.h"

namespace nibble {
namespace {

QuantizedTensor quantize(const std::string& name, std::size_t rows, std::size_t cols,
                         const std::vector<float>& values) {
  QuantizedTensor tensor(find_format(name), rows, cols);
  FitOptions options;
  options.rule = FitRule::absmax;
  for (std::size_t r = 0; r < rows; ++r)
    tensor.format->encode_row(std::span(values).subspan(r * cols, cols), {}, nullptr, r, options, tensor.row(r));
  return tensor;
}

std::vector<float> product(const QuantizedView& view, Isa isa, ActivationMode mode, const std::vector<float>& x,
                           std::size_t tokens, std::size_t threads) {
  Machine machine(isa, threads);
  const PackedLinear packed = PackedLinear::pack(view, {mode}, machine);
  const GuardedBuffer<float> in(x), out(tokens * static_cast<std::size_t>(view.rows));
  packed.multiply(in.data(), tokens, out.data(), machine);
  return out.copy();
}

std::vector<float> first_tokens(const std::vector<float>& x, std::size_t count) {
  return {x.begin(), x.begin() + static_cast<std::ptrdiff_t>(count)};
}

class FloatFormats : public ::testing::TestWithParam<std::string> {};

// The definition: a chain of fused multiply-adds over decoded weights, which pack_decoded_rows computes.
TEST_P(FloatFormats, GivesTheBitsOfDecodedRowsOnAllSetsForAnyBatch) {
  for (const std::size_t cols : {std::size_t{32}, std::size_t{100}, std::size_t{517}}) {
    const std::size_t rows = 67, most = 13;
    const QuantizedTensor tensor = quantize(GetParam(), rows, cols, normal_numbers(rows * cols, cols));
    const auto x = normal_numbers(most * cols, 2);
    const auto reference = product(tensor.view(), Isa::scalar, ActivationMode::f32, x, most, 1);
    for (Isa isa : runnable_sets())
      for (std::size_t tokens : {1u, 2u, 7u, 13u}) {
        const auto y = product(tensor.view(), isa, ActivationMode::automatic, first_tokens(x, tokens * cols), tokens,
                               tokens % 3 + 1);
        EXPECT_TRUE(same_bits(y, first_tokens(reference, tokens * rows)))
            << isa_name(isa) << ", cols " << cols << ", tokens " << tokens;
      }
  }
}

constexpr ActivationMode kModes[] = {ActivationMode::native, ActivationMode::bf16};

// Weights stay exact but for the rounding of their scale's product, activations are rounded to bf16: 2^-8 and 2^-24,
// and gamma_K of the sum.
TEST_P(FloatFormats, NativeAndBf16StayWithinTheirBoundAndGiveTheSameBitsForAnyBatchAndThreads) {
  for (const ActivationMode mode : kModes)
    for (const std::size_t cols : {std::size_t{45}, std::size_t{600}}) {
      const std::size_t rows = 67, most = 13;
      const QuantizedTensor tensor = quantize(GetParam(), rows, cols, normal_numbers(rows * cols, cols));
      const auto w = tensor.view().decode(), x = normal_numbers(most * cols, 3);
      for (Isa isa : runnable_sets()) {
        const auto whole = product(tensor.view(), isa, mode, x, most, 1);
        ASSERT_TRUE(near_exact(whole, x, w, rows, 0x1p-8 + (1 + 0x1p-8) * chain_bound(cols + 2)))
            << isa_name(isa) << ", cols " << cols;
        for (std::size_t tokens : {1u, 2u, 6u}) {
          const auto part = product(tensor.view(), isa, mode, first_tokens(x, tokens * cols), tokens, 3);
          EXPECT_TRUE(same_bits(part, first_tokens(whole, tokens * rows))) << isa_name(isa) << ", tokens " << tokens;
        }
      }
    }
}

TEST_P(FloatFormats, DecodesRowsAndTakesTheMemoryOfItsFile) {
  const std::size_t rows = 64, cols = 2048;
  const QuantizedTensor tensor = quantize(GetParam(), rows, cols, normal_numbers(rows * cols, 5));
  Machine machine(Isa::scalar, 1);
  for (Isa isa : runnable_sets())
    for (const ActivationMode mode : kModes) {
      const PackedLinear packed = PackedLinear::pack(tensor.view(), {mode}, with_set(machine, isa));
      EXPECT_LE(packed.resident_bytes(), tensor.view().bytes() * 103 / 100);
      std::vector<float> row(cols), expected(cols);
      for (std::size_t r = 0; r < rows; ++r) {
        packed.decode_row(r, row.data());
        tensor.view().decode_row(r, expected);
        ASSERT_TRUE(same_bits(row, expected)) << isa_name(isa) << ", row " << r;
      }
    }
}

// Every code but the reserved ones, the largest and the subnormal ones among them, in the first row.
TEST_P(FloatFormats, TakesEveryCode) {
  const std::size_t rows = 2, cols = 256;
  QuantizedTensor tensor = quantize(GetParam(), rows, cols, std::vector<float>(rows * cols, 1.0f));
  const unsigned bits = GetParam().starts_with("fp6") ? 6 : 8;
  std::vector<float> values(cols), x(cols, 0.0f);
  for (unsigned code = 0; code < 1u << bits; ++code) {
    for (std::size_t i = 0; i < 64; ++i) {
      const std::size_t bit = i * bits;
      for (unsigned k = 0; k < bits; ++k) {
        std::byte& byte = tensor.row(0)[0][(bit + k) / 8];
        const std::byte mask = std::byte{1} << ((bit + k) % 8);
        byte = (code >> k & 1u) != 0 ? byte | mask : byte & ~mask;
      }
    }
    tensor.view().decode_row(0, values);
    if (!std::isfinite(values[0])) continue;
    x[code % 64] = 1;
    for (Isa isa : runnable_sets())
      for (const ActivationMode mode : kModes)
        EXPECT_EQ(product(tensor.view(), isa, mode, x, 1, 1)[0], values[0]) << isa_name(isa) << ' ' << code;
    x[code % 64] = 0;
  }
}

INSTANTIATE_TEST_SUITE_P(All, FloatFormats,
                         ::testing::Values("fp8:row", "fp8_e5m2:row", "fp8:g32:e8m0", "fp8_e5m2:g32:e8m0",
                                           "fp6:g32:e8m0", "fp6_e3m2:g32:e8m0", "fp8:g128", "fp6:g64", "fp6_e3m2:row"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           for (char& c : name)
                             if (c == ':') c = '_';
                           return name;
                         });

}  // namespace
}  // namespace nibble
