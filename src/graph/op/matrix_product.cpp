// SPDX-License-Identifier: Apache-2.0
#include "graph/op/matrix_product.h"

#include <algorithm>

#include "graph/extents.h"

namespace nibble {
namespace {

struct Sizes {
  std::uint64_t rows = 1, inner = 1, cols = 1;
  Dimensions outer;
};

Sizes sizes_of(std::span<const Dimensions> inputs) {
  const Dimensions &a = inputs[0], &b = inputs[1];
  require_drawable(!a.empty() && !b.empty(), MatrixProduct::kName, "a single number");
  Sizes sizes{.rows = a.size() > 1 ? a[a.size() - 2].extent : 1,
              .inner = a.back().extent,
              .cols = b.size() > 1 ? b.back().extent : 1,
              .outer = {}};
  const std::uint64_t other = b.size() > 1 ? b[b.size() - 2].extent : b[0].extent;
  require_drawable(sizes.inner == other, MatrixProduct::kName, "matrices whose sizes do not fit");
  Dimensions of_a = a, of_b = b;
  of_a.resize(a.size() > 2 ? a.size() - 2 : 0);
  of_b.resize(b.size() > 2 ? b.size() - 2 : 0);
  sizes.outer = broadcast(of_a, of_b, MatrixProduct::kName);
  return sizes;
}

}  // namespace

Dimensions MatrixProduct::output(std::span<const Dimensions> inputs) const {
  const Sizes sizes = sizes_of(inputs);
  Extents extents = extents_of(sizes.outer);
  if (inputs[0].size() > 1) extents.push_back(sizes.rows);
  if (inputs[1].size() > 1) extents.push_back(sizes.cols);
  return named(extents);
}

std::vector<WeightUse> MatrixProduct::weights(std::span<const Dimensions>) const { return {}; }

// No weight stands behind it.
std::vector<ScalePassage> MatrixProduct::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost MatrixProduct::cost(std::span<const Dimensions> inputs) const {
  const Sizes sizes = sizes_of(inputs);
  return {.whole = numbers_of(sizes.outer) * sizes.rows * sizes.inner * sizes.cols};
}

OnnxSpelling MatrixProduct::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("MatMul", {s.input(0), s.input(1)});
  return s;
}

void MatrixProduct::evaluate(const Operands& operands, std::span<const Dimensions> inputs,
                             std::span<float> output) const {
  const Sizes sizes = sizes_of(inputs);
  const std::size_t rows = sizes.rows, cols = sizes.cols, inner = sizes.inner;
  Extents outer = extents_of(sizes.outer);
  outer.push_back(1);
  const auto strides = [&](const Dimensions& value, std::uint64_t numbers) {
    Dimensions stands_before = value;
    stands_before.resize(value.size() > 2 ? value.size() - 2 : 0);
    Strided strided = broadcast_strides(stands_before, sizes.outer);
    for (std::ptrdiff_t& stride : strided.strides) stride *= static_cast<std::ptrdiff_t>(numbers);
    strided.strides.push_back(0);
    return strided;
  };
  if (output.empty()) return;
  for_each_row<2>(outer, {strides(inputs[0], rows * inner), strides(inputs[1], inner * cols)},
                  [&](std::size_t product, std::array<std::size_t, 2> at) {
                    const float* const a = operands.inputs[0].data() + at[0];
                    const float* const b = operands.inputs[1].data() + at[1];
                    const auto make = [&](std::size_t begin, std::size_t end, std::size_t) {
                      std::vector<double> sums(cols);
                      for (std::size_t row = begin; row < end; ++row) {
                        std::ranges::fill(sums, 0.0);
                        for (std::size_t i = 0; i < inner; ++i) {
                          const auto factor = static_cast<double>(a[row * inner + i]);
                          for (std::size_t col = 0; col < cols; ++col)
                            sums[col] += factor * static_cast<double>(b[i * cols + col]);
                        }
                        for (std::size_t col = 0; col < cols; ++col)
                          output[(product * rows + row) * cols + col] = static_cast<float>(sums[col]);
                      }
                    };
                    if (operands.pool != nullptr && rows * cols * inner > 4096)
                      return operands.pool->parallel_for(rows, 4, make);
                    make(0, rows, 0);
                  });
}

}  // namespace nibble
