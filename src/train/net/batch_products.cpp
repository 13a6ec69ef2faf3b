// SPDX-License-Identifier: Apache-2.0
#include "train/net/batch_products.h"

#include <algorithm>

#include "graph/extents.h"
#include "kernels/dense/matrix_product.h"
#include "net/quantize/sample_products.h"

namespace nibble {
namespace {

constexpr auto kArithmetic = ProductArithmetic::f32;
constexpr std::size_t kShards = 8;  // of images, each with sums of its own

std::span<const float> bias_of(const std::string& bias, const BatchNode& node) {
  return bias.empty() ? std::span<const float>{} : node.weight(bias);
}
std::span<float> by_bias_of(const std::string& bias, const BatchGradients& into) {
  return bias.empty() ? std::span<float>{} : into.weight(bias);
}

void add_column_sums(std::span<const float> rows, std::span<float> sums) {
  std::vector<double> totals(sums.size());
  for (std::size_t at = 0; at < rows.size(); at += sums.size())
    for (std::size_t i = 0; i < sums.size(); ++i) totals[i] += static_cast<double>(rows[at + i]);
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<float>(totals[i]);
}

// A convolution's extents over all images of a batch.
struct Sizes {
  std::size_t images, in_size, out_size, places, groups, inner, outer;  // inner, outer: channels' numbers of a group

  Sizes(const Convolution& op, const BatchNode& node) {
    const Dimensions& x = node.shapes[0];
    const Dimensions made = op.output(node.shapes);
    images = node.samples * static_cast<std::size_t>(x[0].extent);
    in_size = static_cast<std::size_t>(numbers_of(x) / x[0].extent);
    out_size = static_cast<std::size_t>(numbers_of(made) / x[0].extent);
    groups = static_cast<std::size_t>(op.groups);
    places = out_size / static_cast<std::size_t>(op.outputs);
    inner = static_cast<std::size_t>(x[1].extent / op.groups * op.window.num_taps());
    outer = static_cast<std::size_t>(op.outputs / op.groups);
  }
};

// Every place of the columns (net/quantize/sample_products.h) goes back to the number that it was read from.
void scatter_windows(const Convolution& op, const Dimensions& x, const std::vector<float>& columns,
                     std::span<float> to) {
  const Dimensions made = op.output(std::span(&x, 1));
  const std::size_t width = made.back().extent, height = made.size() == 3 ? 1 : made[2].extent;
  const Window::Plane p = op.window.plane(x);
  const float* from = columns.data();
  for (std::size_t c = 0; c < x[1].extent; ++c)
    for (std::size_t tap = 0; tap < p.tap_rows * p.tap_cols; ++tap, from += height * width) {
      const auto row_shift = static_cast<std::ptrdiff_t>(tap / p.tap_cols) * p.row_step - p.top;
      const auto col_shift = static_cast<std::ptrdiff_t>(tap % p.tap_cols) * p.col_step - p.left;
      const PlaceRange rows = places_within(static_cast<std::ptrdiff_t>(height), p.row_stride, row_shift,
                                            static_cast<std::ptrdiff_t>(p.height));
      const PlaceRange cols = places_within(static_cast<std::ptrdiff_t>(width), p.col_stride, col_shift,
                                            static_cast<std::ptrdiff_t>(p.width));
      for (std::ptrdiff_t row = rows.first; row < rows.end; ++row) {
        float* const line =
            to.data() + c * p.height * p.width + static_cast<std::size_t>(row * p.row_stride + row_shift) * p.width;
        for (std::ptrdiff_t col = cols.first; col < cols.end; ++col)
          line[col * p.col_stride + col_shift] +=
              from[static_cast<std::size_t>(row) * width + static_cast<std::size_t>(col)];
      }
    }
}

}  // namespace

// --- Linears -------------------------------------------------------------------------------------------------------

void evaluate_batch(const Linear& op, const BatchNode& node, std::span<float> output, Machine& machine) {
  const std::size_t cols = width_of(node.shapes[0]), rows = op.rows, tokens = output.size() / rows;
  multiply({node.inputs[0].numbers.data(), cols}, {node.weight(op.part).data(), cols, true}, {tokens, rows, cols},
           {output.data(), rows}, kArithmetic, machine);
  const std::span<const float> bias = bias_of(op.bias(), node);
  for (std::size_t at = 0; at < output.size() && !bias.empty(); at += rows)
    for (std::size_t i = 0; i < rows; ++i) output[at + i] += bias[i];
}

void add_gradients(const Linear& op, const BatchNode& node, const BatchGradients& into, Machine& machine) {
  const std::size_t cols = width_of(node.shapes[0]), rows = op.rows, tokens = into.output.size() / rows;
  if (const std::span<float> by_x = into.inputs[0]; !by_x.empty())
    multiply({into.output.data(), rows}, {node.weight(op.part).data(), cols}, {tokens, cols, rows},
             {by_x.data(), cols, true}, kArithmetic, machine);
  if (const std::span<float> by_w = into.weight(op.part); !by_w.empty())
    multiply({into.output.data(), rows, true}, {node.inputs[0].numbers.data(), cols}, {rows, cols, tokens},
             {by_w.data(), cols, true}, kArithmetic, machine);
  if (const std::span<float> by_bias = by_bias_of(op.bias(), into); !by_bias.empty())
    add_column_sums(into.output, by_bias);
}

// --- convolutions --------------------------------------------------------------------------------------------------

void evaluate_batch(const Convolution& op, const BatchNode& node, std::span<float> output, Machine& machine) {
  const Sizes s(op, node);
  const std::span<const float> w = node.weight(op.part), bias = bias_of(op.bias(), node);
  const ProductExtents extents = {s.outer, s.places, s.inner};
  std::vector<KernelScratch> rooms(machine.pool.num_threads());
  machine.pool.parallel_for(s.images, 1, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    std::byte* const room = rooms[worker].reserve(product_room(extents, kArithmetic));
    std::vector<float> columns;
    for (std::size_t image = begin; image < end; ++image) {
      gather_windows(op, node.shapes[0], node.inputs[0].numbers.subspan(image * s.in_size, s.in_size), columns);
      float* const made = output.data() + image * s.out_size;
      for (std::size_t o = 0; o < op.outputs; ++o)
        std::fill_n(made + o * s.places, s.places, bias.empty() ? 0.0F : bias[o]);
      for (std::size_t group = 0; group < s.groups; ++group)
        multiply_alone({w.data() + group * s.outer * s.inner, s.inner},
                       {columns.data() + group * s.inner * s.places, s.places}, extents,
                       {made + group * s.outer * s.places, s.places, true}, kArithmetic, machine.isa, room);
    }
  });
}

void add_gradients(const Convolution& op, const BatchNode& node, const BatchGradients& into, Machine& machine) {
  const Sizes s(op, node);
  const std::span<const float> w = node.weight(op.part);
  const std::span<float> by_x = into.inputs[0], by_w = into.weight(op.part), by_bias = by_bias_of(op.bias(), into);
  const ProductExtents of_columns = {s.inner, s.places, s.outer}, of_weights = {s.outer, s.inner, s.places};
  std::vector<KernelScratch> rooms(machine.pool.num_threads());
  std::vector<float> sums(kShards * by_w.size()), bias_sums(kShards * by_bias.size());
  machine.pool.parallel_for(kShards, 1, [&](std::size_t shard, std::size_t, std::size_t worker) {
    std::byte* const room =
        rooms[worker].reserve(std::max(product_room(of_columns, kArithmetic), product_room(of_weights, kArithmetic)));
    std::vector<float> columns;
    float* const by_weights = sums.data() + shard * by_w.size();
    for (std::size_t image = shard * s.images / kShards; image < (shard + 1) * s.images / kShards; ++image) {
      const float* const dy = into.output.data() + image * s.out_size;
      for (std::size_t o = 0; o < by_bias.size(); ++o) {
        double sum = 0;
        for (std::size_t i = 0; i < s.places; ++i) sum += static_cast<double>(dy[o * s.places + i]);
        bias_sums[shard * by_bias.size() + o] += static_cast<float>(sum);
      }
      if (!by_w.empty()) {
        gather_windows(op, node.shapes[0], node.inputs[0].numbers.subspan(image * s.in_size, s.in_size), columns);
        for (std::size_t group = 0; group < s.groups; ++group)
          multiply_alone({dy + group * s.outer * s.places, s.places},
                         {columns.data() + group * s.inner * s.places, s.places, true}, of_weights,
                         {by_weights + group * s.outer * s.inner, s.inner, true}, kArithmetic, machine.isa, room);
      }
      if (by_x.empty()) continue;
      columns.resize(s.groups * s.inner * s.places);
      for (std::size_t group = 0; group < s.groups; ++group)
        multiply_alone({w.data() + group * s.outer * s.inner, s.inner, true},
                       {dy + group * s.outer * s.places, s.places}, of_columns,
                       {columns.data() + group * s.inner * s.places, s.places}, kArithmetic, machine.isa, room);
      scatter_windows(op, node.shapes[0], columns, by_x.subspan(image * s.in_size, s.in_size));
    }
  });
  for (std::size_t shard = 0; shard < kShards; ++shard) {
    for (std::size_t i = 0; i < by_w.size(); ++i) by_w[i] += sums[shard * by_w.size() + i];
    for (std::size_t i = 0; i < by_bias.size(); ++i) by_bias[i] += bias_sums[shard * by_bias.size() + i];
  }
}

// --- convolutions that enlarge -------------------------------------------------------------------------------------

// Every pair of a number that is read and one that a tap adds it to. Few nets have more than two of these, of few
// channels: plain loops.
void add_gradients(const TransposedConvolution& op, const BatchNode& node, const BatchGradients& into,
                   Machine& machine) {
  const Dimensions &x = node.shapes[0], made = op.output(node.shapes);
  const Window::Plane p = op.window.plane(x);
  const std::size_t channels = static_cast<std::size_t>(x[1].extent), outputs = static_cast<std::size_t>(op.outputs);
  const std::size_t in_group = channels / op.groups, out_group = outputs / op.groups, taps = op.window.num_taps();
  const auto width = static_cast<std::ptrdiff_t>(made.back().extent),
             height = static_cast<std::ptrdiff_t>(made.size() == 3 ? 1 : made[2].extent);
  const std::size_t in_plane = p.height * p.width, out_plane = static_cast<std::size_t>(height * width);
  const std::size_t images = node.samples * static_cast<std::size_t>(x[0].extent);
  const std::span<const float> w = node.weight(op.part);
  const std::span<float> by_x = into.inputs[0], by_w = into.weight(op.part), by_bias = by_bias_of(op.bias(), into);
  std::vector<double> sums(kShards * by_w.size()), bias_sums(kShards * by_bias.size());
  const auto add_tap = [&](const float* from, const float* dy, std::size_t tap, double factor, float* by_from) {
    const auto row_shift = static_cast<std::ptrdiff_t>(tap / p.tap_cols) * p.row_step - p.top;
    const auto col_shift = static_cast<std::ptrdiff_t>(tap % p.tap_cols) * p.col_step - p.left;
    const PlaceRange rows = places_within(static_cast<std::ptrdiff_t>(p.height), p.row_stride, row_shift, height);
    const PlaceRange cols = places_within(static_cast<std::ptrdiff_t>(p.width), p.col_stride, col_shift, width);
    double sum = 0;
    for (std::ptrdiff_t row = rows.first; row < rows.end; ++row)
      for (std::ptrdiff_t col = cols.first; col < cols.end; ++col) {
        const std::ptrdiff_t at = row * static_cast<std::ptrdiff_t>(p.width) + col;
        const auto by =
            static_cast<double>(dy[(row * p.row_stride + row_shift) * width + col * p.col_stride + col_shift]);
        sum += by * static_cast<double>(from[at]);
        if (by_from != nullptr) by_from[at] += static_cast<float>(factor * by);
      }
    return sum;
  };
  machine.pool.parallel_for(kShards, 1, [&](std::size_t shard, std::size_t, std::size_t) {
    for (std::size_t image = shard * images / kShards; image < (shard + 1) * images / kShards; ++image) {
      const float* const dy = into.output.data() + image * outputs * out_plane;
      for (std::size_t i = 0; i < by_bias.size() * out_plane; ++i)
        bias_sums[shard * by_bias.size() + i / out_plane] += static_cast<double>(dy[i]);
      for (std::size_t c = 0; c < channels; ++c)
        for (std::size_t o = 0; o < out_group; ++o)
          for (std::size_t tap = 0; tap < taps; ++tap) {
            const std::size_t place = (c * out_group + o) * taps + tap, plane = (image * channels + c) * in_plane;
            const double sum =
                add_tap(node.inputs[0].numbers.data() + plane, dy + (c / in_group * out_group + o) * out_plane, tap,
                        static_cast<double>(w[place]), by_x.empty() ? nullptr : by_x.data() + plane);
            if (!by_w.empty()) sums[shard * by_w.size() + place] += sum;
          }
    }
  });
  for (std::size_t shard = 0; shard < kShards; ++shard) {
    for (std::size_t i = 0; i < by_w.size(); ++i) by_w[i] += static_cast<float>(sums[shard * by_w.size() + i]);
    for (std::size_t i = 0; i < by_bias.size(); ++i)
      by_bias[i] += static_cast<float>(bias_sums[shard * by_bias.size() + i]);
  }
}

}  // namespace nibble
