// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/input_rotation.h"

#include <bit>
#include <cmath>

#include "format/encode_tensor.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/linear/linear.h"

namespace nibble {
namespace {

std::vector<std::int8_t> some_signs(std::size_t count, std::uint64_t seed) {
  std::vector<std::int8_t> signs;
  for (const float x : normal_numbers(count, seed)) signs.push_back(x < 0 ? std::int8_t{-1} : std::int8_t{1});
  return signs;
}

// The definition: (-1)^(ones in i & j) / sqrt(size) in Sylvester's order, times the sign of column j.
double element(const ChannelTransform& transform, std::size_t i, std::size_t j) {
  if (i / transform.size != j / transform.size) return 0;
  const double sign = transform.signs.empty() ? 1 : transform.signs[j];
  const std::size_t both = (i % transform.size) & (j % transform.size);
  return (std::popcount(both) % 2 == 0 ? sign : -sign) / std::sqrt(static_cast<double>(transform.size));
}

TEST(InputRotation, IsTheMatrixInItsBlocksWithTheSameBitsOnEverySet) {
  for (const std::uint32_t size : {1u, 2u, 4u, 8u, 16u, 32u, 128u, 256u, 512u})
    for (const bool has_signs : {false, true}) {
      const std::size_t channels = 3 * std::size_t{size};
      ChannelTransform transform{size, {}};
      if (has_signs) transform.signs = some_signs(channels, size);
      const std::vector<float> x = normal_numbers(channels, 5 + size);
      std::vector<float> reference;
      for (const Isa isa : runnable_sets()) {
        const InputRotation rotation(transform, channels, isa);
        const GuardedBuffer<float> in(x), out(channels);
        rotation.apply(in.data(), out.data());
        if (isa == Isa::scalar) reference = out.copy();
        EXPECT_TRUE(same_bits(out.copy(), reference)) << size << ' ' << isa_name(isa);
        std::vector<float> in_place = x;
        rotation.apply(in_place.data(), in_place.data());
        EXPECT_TRUE(same_bits(in_place, reference)) << size << ' ' << isa_name(isa) << " in place";
      }
      double norm = 0;
      for (const float value : x) norm += double{value} * value;
      // log2(size) sums and a product, each off by half a unit of at most the vector's norm.
      const double bound = (std::log2(size) + 2) * 0x1p-24 * std::sqrt(norm);
      for (std::size_t i = 0; i < channels; ++i) {
        double sum = 0;
        for (std::size_t j = 0; j < channels; ++j) sum += element(transform, i, j) * static_cast<double>(x[j]);
        ASSERT_NEAR(reference[i], sum, bound) << size << ", channel " << i;
      }
    }
}

QuantizedTensor rotated_tensor(const char* format, std::size_t rows, std::size_t cols, std::uint64_t seed,
                               ChannelTransform transform) {
  QuantizedTensor tensor = encode_tensor(find_format(format), normal_numbers(rows * cols, seed), rows, FitRule::absmax);
  auto parts = std::make_shared<TensorParts>();
  parts->input_transform = std::move(transform);
  tensor.parts = parts;
  return tensor;
}

// The product that the tensor's rows, decoded, have with the inputs: in f32 arithmetic nearly, in integers within what
// 8 bits leave. Every set, batch and number of threads gives the same bits.
TEST(InputRotation, WeightsForRotatedInputsAreMultipliedWithThem) {
  const std::size_t rows = 66, cols = 512, tokens = 5;
  const std::vector<float> x = normal_numbers(tokens * cols, 22);
  for (const char* format :
       {"int4:g128", "int8:row", "q4_0", "q6_k", "nf4:g64", "trellis2:l8", "trellis3:l12", "e8p2", "fp8:row"})
    for (const ActivationMode mode : {ActivationMode::f32, ActivationMode::automatic}) {
      const QuantizedTensor tensor = rotated_tensor(format, rows, cols, 21, {256, some_signs(cols, 3)});
      const std::vector<float> w = tensor.view().decode();
      std::vector<float> reference;
      for (const Isa isa : runnable_sets())
        for (const std::size_t threads : {1u, 3u}) {
          Machine machine(isa, threads);
          const PackedLinear packed = PackedLinear::pack(tensor.view(), {mode}, machine);
          EXPECT_NE(packed.kernel_name().find("hadamard256"), std::string::npos) << packed.kernel_name();
          std::vector<float> y(tokens * rows), single(rows), row(cols);
          packed.multiply(x.data(), tokens, y.data(), machine);
          if (reference.empty()) reference = y;
          EXPECT_TRUE(same_bits(y, reference)) << format << ' ' << isa_name(isa);
          packed.multiply(&x[2 * cols], 1, single.data(), machine);
          EXPECT_TRUE(same_bits(single, std::vector<float>(&y[2 * rows], &y[3 * rows]))) << format;
          packed.decode_row(3, row.data());
          EXPECT_TRUE(same_bits(row, std::vector<float>(&w[3 * cols], &w[4 * cols]))) << format;
        }
      for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t r = 0; r < rows; ++r) {
          double sum = 0, weights = 0, inputs = 0;
          for (std::size_t k = 0; k < cols; ++k) {
            const double a = x[t * cols + k], b = w[r * cols + k];
            sum += a * b;
            weights += b * b;
            inputs += a * a;
          }
          // A step of 8-bit inputs is below 5 deviations / 127, its error a uniform one: seven deviations of the sum.
          const double inexact = mode == ActivationMode::f32 ? 1e-5 : 7 * 5.0 / 127 / std::sqrt(12.0 * cols);
          ASSERT_NEAR(reference[t * rows + r], sum, inexact * std::sqrt(weights * inputs))
              << format << ", token " << t << ", row " << r;
        }
    }
}

// Weights that read one activation share its rotation, and only where they rotate alike.
TEST(InputRotation, ProductsOfOneActivationKeepTheirBits) {
  const std::size_t cols = 256, tokens = 3;
  const std::vector<float> x = normal_numbers(tokens * cols, 31);
  for (const ActivationMode mode : {ActivationMode::f32, ActivationMode::automatic})
    for (const Isa isa : runnable_sets()) {
      Machine machine(isa, 2);
      const std::vector<std::int8_t> signs = some_signs(cols, 7);
      std::vector<QuantizedTensor> tensors;
      tensors.push_back(rotated_tensor("int4:g128", 64, cols, 41, {256, signs}));
      tensors.push_back(rotated_tensor("int4:g128", 130, cols, 42, {256, signs}));
      tensors.push_back(rotated_tensor("int4:g128", 64, cols, 43, {256, some_signs(cols, 8)}));
      tensors.push_back(rotated_tensor("int4:g128", 64, cols, 44, {64, signs}));
      tensors.push_back(rotated_tensor("int4:g128", 64, cols, 45, {}));
      tensors.back().parts = nullptr;
      tensors.push_back(rotated_tensor("trellis2:l8", 64, cols, 46, {256, signs}));
      std::vector<PackedLinear> packed;
      std::vector<std::vector<float>> alone, together;
      for (const QuantizedTensor& tensor : tensors) {
        packed.push_back(PackedLinear::pack(tensor.view(), {mode}, machine));
        alone.emplace_back(tokens * tensor.rows);
        packed.back().multiply(x.data(), tokens, alone.back().data(), machine);
        together.emplace_back(tokens * tensor.rows);
      }
      std::vector<LinearProduct> products;
      for (std::size_t i = 0; i < packed.size(); ++i) products.push_back({&packed[i], together[i].data()});
      multiply_all(products, x.data(), tokens, machine);
      for (std::size_t i = 0; i < packed.size(); ++i)
        EXPECT_TRUE(same_bits(together[i], alone[i])) << isa_name(isa) << ", product " << i;
    }
}

}  // namespace
}  // namespace nibble
