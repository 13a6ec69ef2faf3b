// SPDX-License-Identifier: Apache-2.0
//
// What makes one number of many: poolings, sums and extremes along dimensions, softmax, products of values.
#include <algorithm>
#include <cmath>

#include "graph/extents.h"
#include "train/net/sample_gradients.h"

namespace nibble {

// The slope of a mean is shared by what it counts; that of a largest number goes to the first of these.
void add_gradient(const Pooling& op, const SampleGradient& g) {
  const Dimensions made = op.output(g.shapes);
  const Window::Plane p = op.window.plane(g.shapes[0]);
  const auto out_width = static_cast<std::ptrdiff_t>(made.back().extent);
  const auto out_height = made.size() == 3 ? 1 : static_cast<std::ptrdiff_t>(made[2].extent);
  const auto height = static_cast<std::ptrdiff_t>(p.height), width = static_cast<std::ptrdiff_t>(p.width);
  const auto out_plane = static_cast<std::size_t>(out_height * out_width), in_plane = p.height * p.width;
  if (out_plane == 0) return;
  const auto spread = [&](const float* x, float* by_x, std::ptrdiff_t row, std::ptrdiff_t col, float by) {
    const std::ptrdiff_t top = row * p.row_stride - p.top, left = col * p.col_stride - p.left;
    std::ptrdiff_t largest = -1;
    std::size_t count = 0;
    const auto each = [&](auto&& use) {
      for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(p.tap_rows); ++i)
        for (std::ptrdiff_t j = 0; j < static_cast<std::ptrdiff_t>(p.tap_cols); ++j)
          use(top + i * p.row_step, left + j * p.col_step);
    };
    const auto is_inside = [&](std::ptrdiff_t y, std::ptrdiff_t at) {
      return y >= 0 && y < height && at >= 0 && at < width;
    };
    each([&](std::ptrdiff_t y, std::ptrdiff_t at) {
      const bool inside = is_inside(y, at), is_pad = !inside && y < height + p.bottom && at < width + p.right;
      if (inside || (is_pad && op.counts_pads)) ++count;
      if (inside && (largest < 0 || x[y * width + at] > x[largest])) largest = y * width + at;
    });
    if (op.kind == Pooling::Kind::maximum) {
      if (largest >= 0) by_x[largest] += by;
      return;
    }
    if (count == 0) return;
    const float share = by / static_cast<float>(count);
    each([&](std::ptrdiff_t y, std::ptrdiff_t at) {
      if (is_inside(y, at)) by_x[y * width + at] += share;
    });
  };
  for (std::size_t plane = 0; plane < g.by_made.size() / out_plane; ++plane)
    for (std::ptrdiff_t row = 0; row < out_height; ++row)
      for (std::ptrdiff_t col = 0; col < out_width; ++col)
        spread(g.inputs[0].data() + plane * in_plane, g.by_inputs[0].data() + plane * in_plane, row, col,
               g.by_made[plane * out_plane + static_cast<std::size_t>(row * out_width + col)]);
}

void add_gradient(const Reduce& op, const SampleGradient& g) {
  using Kind = Reduce::Kind;
  if (op.kind == Kind::argmax || op.kind == Kind::argmin) return;
  Dimensions kept = g.shapes[0];
  for (const std::uint64_t axis : op.axes) kept[axis].extent = 1;
  const Extents extents = extents_of(g.shapes[0]);
  const Strided result = broadcast_strides(kept, g.shapes[0]);
  const std::size_t length = extents.empty() ? 1 : static_cast<std::size_t>(extents.back()),
                    step = result.strides.empty() ? 0 : static_cast<std::size_t>(result.strides.back());
  const auto each = [&](auto&& use) {
    for_each_row<1>(extents, {result}, [&](std::size_t in, std::array<std::size_t, 1> at) {
      for (std::size_t i = 0; i < length; ++i) use(in + i, at[0] + i * step);
    });
  };
  const bool is_extreme = op.kind == Kind::maximum || op.kind == Kind::minimum;
  std::vector<double> ties(is_extreme ? g.made.size() : 0);
  if (is_extreme) each([&](std::size_t in, std::size_t out) { ties[out] += g.inputs[0][in] == g.made[out] ? 1 : 0; });
  const double share =
      static_cast<double>(g.made.size()) / static_cast<double>(std::max<std::size_t>(1, g.inputs[0].size()));
  each([&](std::size_t in, std::size_t out) {
    const auto x = static_cast<double>(g.inputs[0][in]), y = static_cast<double>(g.made[out]);
    double slope = 1;
    if (op.kind == Kind::mean) slope = share;
    if (is_extreme) slope = x == y ? 1 / ties[out] : 0;
    if (op.kind == Kind::l1) slope = x > 0 ? 1 : x < 0 ? -1 : 0;
    if (op.kind == Kind::l2) slope = y == 0 ? 0 : x / y;
    if (op.kind == Kind::log_sum) slope = std::exp(-y);
    if (op.kind == Kind::log_sum_exp) slope = std::exp(x - y);
    if (op.kind == Kind::sum_of_squares) slope = 2 * x;
    g.by_inputs[0][in] += static_cast<float>(slope * static_cast<double>(g.by_made[out]));
  });
}

void add_gradient(const Softmax& op, const SampleGradient& g) {
  const Extents extents = extents_of(g.shapes[0]);
  std::size_t inner = 1;
  for (std::size_t d = op.axis + 1; d < extents.size(); ++d) inner *= extents[d];
  const auto length = static_cast<std::size_t>(extents[op.axis]);
  for (std::size_t first = 0; first < g.made.size(); first += length * inner)
    for (std::size_t column = 0; column < inner; ++column) {
      double sum = 0;
      for (std::size_t i = 0; i < length; ++i) {
        const std::size_t at = first + i * inner + column;
        sum += static_cast<double>(g.by_made[at]) * (op.is_logarithm ? 1 : static_cast<double>(g.made[at]));
      }
      for (std::size_t i = 0; i < length; ++i) {
        const std::size_t at = first + i * inner + column;
        const auto y = static_cast<double>(g.made[at]), dy = static_cast<double>(g.by_made[at]);
        g.by_inputs[0][at] += static_cast<float>(op.is_logarithm ? dy - std::exp(y) * sum : y * (dy - sum));
      }
    }
}

void add_gradient(const MatrixProduct&, const SampleGradient& g) {
  const Dimensions &a = g.shapes[0], &b = g.shapes[1];
  const std::size_t rows = a.size() > 1 ? a[a.size() - 2].extent : 1, depth = a.back().extent,
                    cols = b.size() > 1 ? b.back().extent : 1;
  Dimensions of_a = a, of_b = b;
  of_a.resize(a.size() > 2 ? a.size() - 2 : 0);
  of_b.resize(b.size() > 2 ? b.size() - 2 : 0);
  const Dimensions outer = broadcast(of_a, of_b, MatrixProduct::kName);
  const auto multiply = [&](std::size_t matrix, std::size_t left, std::size_t right) {
    const float *const x = g.inputs[0].data() + left * rows * depth,
                       *const w = g.inputs[1].data() + right * depth * cols,
                       *const dy = g.by_made.data() + matrix * rows * cols;
    for (std::size_t i = 0; i < rows && !g.by_inputs[0].empty(); ++i)
      for (std::size_t k = 0; k < depth; ++k) {
        double sum = 0;
        for (std::size_t j = 0; j < cols; ++j)
          sum += static_cast<double>(dy[i * cols + j]) * static_cast<double>(w[k * cols + j]);
        g.by_inputs[0][(left * rows + i) * depth + k] += static_cast<float>(sum);
      }
    for (std::size_t k = 0; k < depth && !g.by_inputs[1].empty(); ++k)
      for (std::size_t j = 0; j < cols; ++j) {
        double sum = 0;
        for (std::size_t i = 0; i < rows; ++i)
          sum += static_cast<double>(x[i * depth + k]) * static_cast<double>(dy[i * cols + j]);
        g.by_inputs[1][(right * depth + k) * cols + j] += static_cast<float>(sum);
      }
  };
  const Extents extents = extents_of(outer);
  const Strided left = broadcast_strides(of_a, outer), right = broadcast_strides(of_b, outer);
  const std::size_t length = extents.empty() ? 1 : static_cast<std::size_t>(extents.back());
  const auto step = [](const Strided& s) { return s.strides.empty() ? 0 : static_cast<std::size_t>(s.strides.back()); };
  for_each_row<2>(extents, {left, right}, [&](std::size_t out, std::array<std::size_t, 2> at) {
    for (std::size_t i = 0; i < length; ++i) multiply(out + i, at[0] + i * step(left), at[1] + i * step(right));
  });
}

}  // namespace nibble
