// SPDX-License-Identifier: Apache-2.0
//
// A Linear's weights as they are kept in memory for this processor (repacked), and the product with them: GEMM for the
// tokens of a prompt, GEMV for a single one.
//
// Weights are repacked once at load from the file's format, stay quantized (resident bytes within 1.03x of the file's
// for formats that have a layout of their own), and are multiplied from that form. Arithmetic is defined: the same bits
// for any number of threads and any batch.
//
//   PackedLinear w = PackedLinear::pack(view, choice, machine);
//   w.multiply(x, tokens, y, machine);   // y[t, n] = sum_k x[t, k] * w[n, k]
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "format/activation_format.h"
#include "format/quantized_tensor.h"
#include "kernels/machine.h"

namespace nibble {

// How activations enter the products. automatic: int8 when the weights are quantized and a kernel takes them, f32
// otherwise, for the same bits on every processor: what originals are measured in. native: the same, but bf16 for
// weights that are bf16, on processors that are faster at such products: weights stay exact, and activations are
// rounded as the weights once were. bf16: for all floating-point weights, which are rounded, too, however fast that is.
// Whatever is asked for, weights that no such kernel takes are multiplied in f32; kernel_name() says so.
enum class ActivationMode { automatic, native, f32, bf16, int8 };

// What a product's operands are: its speed is held against that peak of the processor.
enum class Arithmetic { f32, bf16, int8 };

struct KernelOptions {
  ActivationMode activations = ActivationMode::automatic;
  // Of int8 products. y is the product of the stored weights with scale * (code - zero): both cross terms of the zero
  // points are integers' sums, of a row's weights times the activations' zero and of a token's activations times the
  // weights' zero.
  ActivationFormat activation_format = kDefaultActivations;
  ActivationGrid activation_grid = {};  // where the format is static
};

class PackedLinear {
 public:
  PackedLinear();
  PackedLinear(PackedLinear&&) noexcept;
  PackedLinear& operator=(PackedLinear&&) noexcept;
  ~PackedLinear();

  // For the machine's instruction set, which the weights keep: a machine that they are multiplied with lends them
  // threads and scratch.
  static PackedLinear pack(const QuantizedView& weights, const KernelOptions& options, Machine& machine);

  std::uint64_t rows() const noexcept;  // outputs
  std::uint64_t cols() const noexcept;  // inputs
  std::uint64_t resident_bytes() const noexcept;
  std::string kernel_name() const;  // "avx512/f32 panel", for `info` and tests
  Arithmetic arithmetic() const noexcept;

  // y: [tokens, rows], x: [tokens, cols], both row-major, not aliased. x finite.
  void multiply(const float* x, std::size_t tokens, float* y, Machine& machine) const;

  // One row widened to f32: embeddings are looked up from the same resident bytes when a matrix is tied.
  void decode_row(std::uint64_t row, float* out) const;

  struct Access;  // for multiply_all

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Several products with the same inputs, in one go: inputs are quantized once, and threads meet once at the end.
struct LinearProduct {
  const PackedLinear* weights;
  float* y;  // [tokens, rows of the weights]
};
inline constexpr std::size_t kMostProducts = 8;

// Two products of a call of which one gates the other: the activation of `gate`, times `up`, is put in the place of
// `gate` panel by panel, while both are still in a near cache. The bits of silu_multiply and its like
// (kernels/vector_ops.h) on the whole.
enum class Activation { silu, gelu, sigmoid };
struct GatedProducts {
  std::size_t gate, up;  // which of the products: two, of weights with as many rows
  Activation activation;
};

void multiply_all(std::span<const LinearProduct> products, const float* x, std::size_t tokens, Machine& machine,
                  const std::optional<GatedProducts>& gated = {});

}  // namespace nibble
