// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <deque>
#include <utility>
#include <vector>

#include "format/all.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/linear/linear.h"
#include "kernels/vector_ops.h"

namespace nibble {
namespace {

QuantizedTensor quantized(const char* format, std::size_t rows, std::size_t cols, std::uint64_t seed) {
  const FormatPtr found = find_format(format);
  QuantizedTensor tensor(found, rows, cols);
  const auto numbers = normal_numbers(rows * cols, seed, 0.2);
  tensor.tensor_grid = found->prepare(numbers, rows, cols, {}, {});
  found->pack_tensor(tensor.tensor_grid.get(), tensor.row(0));
  for (std::size_t r = 0; r < rows; ++r)
    found->encode_row(std::span(numbers).subspan(r * cols, cols), {}, tensor.tensor_grid.get(), r, {}, tensor.row(r));
  return tensor;
}

// Three products of one input, of which one gates another: the third and the gating one are as without, and the gated
// one is what the whole vectors make.
void expect_gated(const PackedLinear (&weights)[3], const GatedProducts& gated, const std::vector<float>& x,
                  std::size_t tokens, Machine& machine, const char* what) {
  std::deque<GuardedBuffer<float>> apart, together;
  std::vector<LinearProduct> of_apart, of_together;
  for (const PackedLinear& w : weights) {
    const auto count = tokens * static_cast<std::size_t>(w.rows());
    of_apart.push_back({&w, apart.emplace_back(count).data()});
    of_together.push_back({&w, together.emplace_back(count).data()});
  }
  multiply_all(of_apart, x.data(), tokens, machine);
  const auto multiply = gated.activation == Activation::silu ? silu_multiply : gelu_multiply;
  multiply(of_apart[gated.gate].y, of_apart[gated.up].y, tokens * weights[gated.gate].rows(), of_apart[gated.gate].y,
           machine);
  multiply_all(of_together, x.data(), tokens, machine, gated);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_TRUE(same_bits(together[i].copy(), apart[i].copy()))
        << what << ", product " << i << " of gate " << gated.gate << " and up " << gated.up << ", tokens " << tokens
        << ", " << isa_name(machine.isa);
}

TEST(GatedProducts, HaveTheBitsOfAPassOfTheirOwn) {
  constexpr std::size_t kCols = 256;
  constexpr std::pair<const char*, const char*> kFormats[] = {{"f32", "f32"},           {"bf16", "f16"},
                                                              {"q8_0", "q8_0"},         {"q4_k", "q6_k"},
                                                              {"int4:g32", "int8:row"}, {"iq4_nl", "mxfp4"}};
  for (const std::size_t rows : {64u, 100u, 320u})  // whole panels, a short last one, more than there are threads
    for (const auto& [gate, up] : kFormats) {
      const QuantizedTensor tensors[] = {quantized(gate, rows, kCols, 1), quantized(up, rows, kCols, 2),
                                         quantized("q8_0", 70, kCols, 3)};
      for (const Isa isa : runnable_sets())
        for (const std::size_t threads : {1u, 3u}) {
          Machine machine(isa, threads);
          const auto pack = [&](std::size_t i) { return PackedLinear::pack(tensors[i].view(), {}, machine); };
          // In every place of the three: the gate before and after the other, that one at either end.
          const PackedLinear first[] = {pack(0), pack(1), pack(2)}, last[] = {pack(2), pack(1), pack(0)},
                             between[] = {pack(0), pack(2), pack(1)};
          for (const std::size_t tokens : {1u, 2u, 33u}) {
            const auto x = normal_numbers(tokens * kCols, tokens);
            expect_gated(first, {0, 1, Activation::silu}, x, tokens, machine, gate);
            expect_gated(first, {1, 0, Activation::gelu}, x, tokens, machine, gate);
            expect_gated(last, {2, 1, Activation::gelu}, x, tokens, machine, gate);
            expect_gated(between, {0, 2, Activation::silu}, x, tokens, machine, gate);
          }
        }
    }
}

}  // namespace
}  // namespace nibble
