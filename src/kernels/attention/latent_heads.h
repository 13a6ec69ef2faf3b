// SPDX-License-Identifier: Apache-2.0
//
// The matrix that makes keys and values of a latent vector, turned around: queries are taken to the latent, and what
// they gather of it to the values (the absorbed form of DeepSeek-V2 2024, section 2.1.2), so that no key or value of a
// head is ever made. Immutable; products are not for concurrent callers with the same machine.
//
//   LatentHeads heads = LatentHeads::pack(kv_b, {.heads = 16, .key_dim = 128, .value_dim = 128}, machine);
//   heads.absorb(queries, tokens, in_latent, kept_width, machine);    // [heads, latent] in rows of kept_width
//   heads.expand(gathered, tokens, kept_width, values, machine);
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/quantized_tensor.h"
#include "kernels/linear/resident_bytes.h"
#include "kernels/machine.h"
#include "tensor/dtype.h"

namespace nibble {

class LatentHeads {
 public:
  struct Shape {
    std::size_t heads = 0, key_dim = 0, value_dim = 0;
  };

  LatentHeads() = default;
  // weights: [heads * (key_dim + value_dim), latent], of each head the rows that make its key above those that make its
  // value. Floating-point numbers are kept as they are, quantized ones as the f32 numbers that they stand for, since
  // the keys' half is read column by column. Errors as QuantizedView::decode_row's.
  static LatentHeads pack(const QuantizedView& weights, const Shape& shape, Machine& machine);

  std::uint64_t resident_bytes() const noexcept { return bytes_.size(); }
  std::size_t latent() const noexcept { return latent_; }

  // Each sum is one chain of fused multiply-adds in ascending order: the same bits for any number of tokens and threads
  // and any instruction set. stride: of the numbers that a head has in the latent, at least latent().
  // queries [tokens, heads, key_dim] -> out [tokens, heads, stride], of which the first latent() are written:
  // out[t, h] = sum over i of queries[t, h, i] * row i of the head's keys.
  void absorb(const float* queries, std::size_t tokens, float* out, std::size_t stride, Machine& machine) const;
  // gathered [tokens, heads, stride] -> out [tokens, heads, value_dim], products with the rows of the head's values.
  void expand(const float* gathered, std::size_t tokens, std::size_t stride, float* out, Machine& machine) const;

 private:
  // Panels of 64 columns [depth, 64] of one half of every head.
  struct Half {
    std::size_t depth = 0, width = 0, first = 0;  // first: byte of the first panel
    std::size_t panels() const { return (width + kPanelWidth - 1) / kPanelWidth; }
  };
  struct Vectors {
    const float* from;
    std::size_t from_stride;  // of heads
    float* to;
    std::size_t to_stride;
  };
  static constexpr std::size_t kPanelWidth = 64;

  void multiply(const Half& half, const Vectors& vectors, std::size_t tokens, Machine& machine) const;
  void fill(const Half& half, bool is_turned, std::size_t first_row, const QuantizedView& weights, Machine& machine);

  Shape shape_;
  std::size_t latent_ = 0;
  DType dtype_ = DType::f32;
  Half keys_, values_;
  ResidentBytes bytes_;
};

}  // namespace nibble
