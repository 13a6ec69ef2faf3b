// SPDX-License-Identifier: Apache-2.0
//
// Every format, multiplied in f32 from its own rows.
#include <cmath>

#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"
#include "kernels/linear/linear.h"

namespace nibble {
namespace {

TEST(DecodedRows, EveryFormatGivesTheProductOfItsDecodedRows) {
  for (const FormatPtr& format : list_formats()) {
    if (format->info().kind == FormatKind::raw) continue;
    const std::size_t rows = 66, cols = 512, tokens = 3;
    const auto values = normal_numbers(rows * cols, 11);
    QuantizedTensor tensor(format, rows, cols);
    FitOptions options;
    options.rule = FitRule::absmax;
    const auto grid = format->prepare(values, rows, cols, {}, options);
    if (grid) format->pack_tensor(grid.get(), tensor.row(0));
    for (std::size_t r = 0; r < rows; ++r)
      format->encode_row(std::span(values).subspan(r * cols, cols), {}, grid.get(), r, options, tensor.row(r));
    tensor.tensor_grid = format->unpack_tensor(tensor.view().row(0), rows, cols);
    const auto w = tensor.view().decode();
    const auto x = normal_numbers(tokens * cols, 12);
    std::vector<float> reference;
    for (Isa isa : runnable_sets()) {
      Machine machine(isa, 2);
      const PackedLinear packed = PackedLinear::pack(tensor.view(), {ActivationMode::f32}, machine);
      EXPECT_EQ(packed.resident_bytes(), tensor.view().bytes());
      const GuardedBuffer<float> in(x), out(tokens * rows);
      packed.multiply(in.data(), tokens, out.data(), machine);
      if (isa == Isa::scalar) reference = out.copy();
      EXPECT_TRUE(same_bits(out.copy(), reference)) << format->name() << ' ' << isa_name(isa);
    }
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t r = 0; r < rows; ++r) {
        float sum = 0;  // the definition itself
        for (std::size_t k = 0; k < cols; ++k) sum = std::fma(x[t * cols + k], w[r * cols + k], sum);
        ASSERT_EQ(reference[t * rows + r], sum) << format->name() << ", token " << t << ", row " << r;
      }
  }
}

}  // namespace
}  // namespace nibble
