// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/sample_products.h"

#include <algorithm>

#include "kernels/dense/dense.h"

namespace nibble {
namespace {

void multiply(const Linear& op, std::span<const Dimensions> shapes, const SampleValues& x, const WeightOf& weight,
              Machine& machine, SampleValues& made) {
  const std::size_t cols = width_of(shapes[0]), rows = op.rows, tokens = rows_of(shapes[0]);
  const std::span<const float> w = weight(op.part);
  const std::span<const float> bias = op.has_bias ? weight(op.bias()) : std::span<const float>{};
  std::vector<float> turned(w.size()), left, sums;
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t col = 0; col < cols; ++col) turned[col * rows + row] = w[row * cols + col];
  for (const std::vector<float>& sample : x) left.insert(left.end(), sample.begin(), sample.end());
  sums.resize(x.size() * tokens * rows, 0.0F);
  if (!bias.empty())
    for (std::size_t first = 0; first < sums.size(); first += rows)
      std::ranges::copy(bias, sums.begin() + static_cast<std::ptrdiff_t>(first));
  gemm(left.data(), turned.data(), x.size() * tokens, rows, cols, sums.data(), machine);
  made.clear();
  for (auto at = sums.begin(); at != sums.end(); at += static_cast<std::ptrdiff_t>(tokens * rows))
    made.emplace_back(at, at + static_cast<std::ptrdiff_t>(tokens * rows));
}

void multiply(const Convolution& op, std::span<const Dimensions> shapes, const SampleValues& x, const WeightOf& weight,
              Machine& machine, SampleValues& made) {
  const Dimensions result = op.output(shapes);
  const std::size_t width = result.back().extent, height = result.size() == 3 ? 1 : result[2].extent;
  const std::size_t plane = width * height, inner = shapes[0][1].extent * op.window.num_taps();
  const std::span<const float> w = weight(op.part);
  const std::span<const float> bias = op.has_bias ? weight(op.bias()) : std::span<const float>{};
  std::vector<std::vector<float>> columns(x.size());
  // A few at a time: what they see is several times what they are.
  const std::size_t together = std::max<std::size_t>(machine.pool.num_threads(), 1);
  made.assign(x.size(), {});
  for (std::size_t first = 0; first < x.size(); first += together) {
    const std::size_t count = std::min(together, x.size() - first);
    machine.pool.parallel_for(count, 1, [&](std::size_t i, std::size_t, std::size_t) {
      gather_windows(op, shapes[0], x[first + i], columns[first + i]);
    });
    for (std::size_t sample = first; sample < first + count; ++sample) {
      std::vector<float>& sums = made[sample];
      sums.assign(op.outputs * plane, 0.0F);
      for (std::size_t o = 0; o < bias.size(); ++o)
        std::fill_n(sums.begin() + static_cast<std::ptrdiff_t>(o * plane), plane, bias[o]);
      gemm(w.data(), columns[sample].data(), op.outputs, plane, inner, sums.data(), machine);
      std::vector<float>().swap(columns[sample]);
    }
  }
}

}  // namespace

void gather_windows(const Convolution& op, const Dimensions& x, std::span<const float> from,
                    std::vector<float>& columns) {
  const Dimensions made = op.output(std::span(&x, 1));
  const std::size_t width = made.back().extent, height = made.size() == 3 ? 1 : made[2].extent;
  const Window::Plane p = op.window.plane(x);
  const std::size_t channels = x[1].extent, in_plane = p.height * p.width;
  columns.assign(channels * p.tap_rows * p.tap_cols * height * width, 0.0F);
  float* to = columns.data();
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t tap = 0; tap < p.tap_rows * p.tap_cols; ++tap, to += height * width) {
      const auto row_shift = static_cast<std::ptrdiff_t>(tap / p.tap_cols) * p.row_step - p.top;
      const auto col_shift = static_cast<std::ptrdiff_t>(tap % p.tap_cols) * p.col_step - p.left;
      const auto rows = places_within(static_cast<std::ptrdiff_t>(height), p.row_stride, row_shift,
                                      static_cast<std::ptrdiff_t>(p.height));
      const auto cols = places_within(static_cast<std::ptrdiff_t>(width), p.col_stride, col_shift,
                                      static_cast<std::ptrdiff_t>(p.width));
      for (std::ptrdiff_t row = rows.first; row < rows.end; ++row) {
        const float* const line =
            from.data() + c * in_plane + static_cast<std::size_t>(row * p.row_stride + row_shift) * p.width;
        for (std::ptrdiff_t col = cols.first; col < cols.end; ++col)
          to[static_cast<std::size_t>(row) * width + static_cast<std::size_t>(col)] =
              line[col * p.col_stride + col_shift];
      }
    }
}

bool multiply_samples(const Node& node, std::span<const Dimensions> shapes, const SampleValues& x,
                      const WeightOf& weight, Machine& machine, SampleValues& made) {
  if (const auto* const linear = std::get_if<Linear>(&node.operation)) {
    multiply(*linear, shapes, x, weight, machine, made);
    return true;
  }
  const auto* const convolution = std::get_if<Convolution>(&node.operation);
  if (convolution == nullptr || convolution->groups != 1 || shapes[0][0].extent != 1) return false;
  multiply(*convolution, shapes, x, weight, machine, made);
  return true;
}

}  // namespace nibble
