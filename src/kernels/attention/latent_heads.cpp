// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention/latent_heads.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "base/half.h"
#include "kernels/select.h"

namespace nibble {
namespace {

constexpr std::size_t kDepth = 256;           // of a chunk that is widened at once
constexpr std::size_t kTokens = 64;           // whose results are kept beside it
constexpr std::size_t kWorthwhile = 1 << 17;  // multiply-adds for which other threads are called

DType kept_type(const QuantizedView& weights) {
  if (weights.format->info().kind != FormatKind::raw) return DType::f32;
  const DType stored = weights.specs.at(0).dtype;
  return stored == DType::f16 || stored == DType::bf16 ? stored : DType::f32;
}

}  // namespace

LatentHeads LatentHeads::pack(const QuantizedView& weights, const Shape& shape, Machine& machine) {
  assert(weights.rows == shape.heads * (shape.key_dim + shape.value_dim));
  LatentHeads packed;
  packed.shape_ = shape;
  packed.latent_ = static_cast<std::size_t>(weights.cols);
  packed.dtype_ = kept_type(weights);
  packed.keys_ = {shape.key_dim, packed.latent_, 0};
  packed.values_ = {packed.latent_, shape.value_dim, 0};
  const auto bytes_of = [&](const Half& half) {
    return shape.heads * half.panels() * half.depth * kPanelWidth * dtype_size(packed.dtype_);
  };
  packed.values_.first = bytes_of(packed.keys_);
  packed.bytes_ = ResidentBytes(packed.values_.first + bytes_of(packed.values_));
  packed.fill(packed.keys_, false, 0, weights, machine);
  packed.fill(packed.values_, true, shape.key_dim, weights, machine);
  return packed;
}

// is_turned: a row of the weights is a column of the panels. Columns that pad the last panel stay zero.
void LatentHeads::fill(const Half& half, bool is_turned, std::size_t first_row, const QuantizedView& weights,
                       Machine& machine) {
  const std::size_t rows = is_turned ? half.width : half.depth, of_head = shape_.key_dim + shape_.value_dim;
  machine.pool.parallel_for(shape_.heads, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    std::vector<float> row(latent_);
    for (std::size_t head = begin; head < end; ++head)
      for (std::size_t r = 0; r < rows; ++r) {
        weights.decode_row(head * of_head + first_row + r, row);
        for (std::size_t c = 0; c < latent_; ++c) {
          const std::size_t depth = is_turned ? c : r, column = is_turned ? r : c;
          const std::size_t at =
              ((head * half.panels() + column / kPanelWidth) * half.depth + depth) * kPanelWidth + column % kPanelWidth;
          if (dtype_ == DType::f32)
            bytes_.as<float>(half.first)[at] = row[c];
          else
            bytes_.as<std::uint16_t>(half.first)[at] = dtype_ == DType::f16 ? f32_to_f16(row[c]) : f32_to_bf16(row[c]);
        }
      }
  });
}

void LatentHeads::absorb(const float* queries, std::size_t tokens, float* out, std::size_t stride,
                         Machine& machine) const {
  multiply(keys_, {queries, shape_.key_dim, out, stride}, tokens, machine);
}

void LatentHeads::expand(const float* gathered, std::size_t tokens, std::size_t stride, float* out,
                         Machine& machine) const {
  multiply(values_, {gathered, stride, out, shape_.value_dim}, tokens, machine);
}

void LatentHeads::multiply(const Half& half, const Vectors& vectors, std::size_t tokens, Machine& machine) const {
  const KernelTable& kernels = kernel_table(machine.isa);
  const std::size_t tasks = shape_.heads * half.panels(), worker_floats = (kDepth + kTokens) * kPanelWidth;
  float* const room =
      reinterpret_cast<float*>(machine.scratch.reserve(machine.pool.num_threads() * worker_floats * sizeof(float)));
  const auto multiply_panel = [&](std::size_t task, std::size_t worker) {
    float *const wide = room + worker * worker_floats, *const tile = wide + kDepth * kPanelWidth;
    const std::size_t head = task / half.panels(), first = task % half.panels() * kPanelWidth,
                      width = std::min(kPanelWidth, half.width - first), panel = task * half.depth * kPanelWidth;
    for (std::size_t t = 0; t < tokens; t += kTokens) {
      const std::size_t count = std::min(kTokens, tokens - t);
      for (std::size_t d = 0; d < half.depth; d += kDepth) {
        const std::size_t depth = std::min(kDepth, half.depth - d), at = panel + d * kPanelWidth;
        const float* chunk = wide;
        if (dtype_ == DType::f32)
          chunk = bytes_.as<float>(half.first) + at;
        else
          (dtype_ == DType::f16 ? kernels.widen_f16 : kernels.widen_bf16)(bytes_.as<std::uint16_t>(half.first) + at,
                                                                          depth * kPanelWidth, wide);
        kernels.f32_tile(chunk, depth, kPanelWidth, vectors.from + (t * shape_.heads + head) * vectors.from_stride + d,
                         shape_.heads * vectors.from_stride, count, tile, kPanelWidth, d != 0);
      }
      for (std::size_t i = 0; i < count; ++i)
        std::copy_n(tile + i * kPanelWidth, width,
                    vectors.to + ((t + i) * shape_.heads + head) * vectors.to_stride + first);
    }
  };
  if (tasks * half.depth * kPanelWidth * tokens < kWorthwhile) {
    for (std::size_t task = 0; task < tasks; ++task) multiply_panel(task, 0);
    return;
  }
  machine.pool.parallel_for(tasks, 4, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    for (std::size_t task = begin; task < end; ++task) multiply_panel(task, worker);
  });
}

}  // namespace nibble
