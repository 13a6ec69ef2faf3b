// SPDX-License-Identifier: Apache-2.0
//
// The ways in which a Linear's weights are kept. Each is one class behind this interface; linear.cpp chooses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/round_up.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"

namespace nibble {

class InputRotation;  // kernels/linear/input_rotation.h

// What threads write beside each other begins on lines of its own.
inline std::size_t whole_lines(std::size_t bytes) { return round_up(bytes, 64); }

class PackedWeights {
 public:
  virtual ~PackedWeights() = default;
  std::uint64_t rows() const noexcept { return rows_; }
  std::uint64_t cols() const noexcept { return cols_; }
  const std::string& name() const noexcept { return name_; }
  virtual Arithmetic arithmetic() const noexcept { return Arithmetic::f32; }
  virtual std::uint64_t resident_bytes() const noexcept = 0;
  virtual void decode_row(std::uint64_t row, float* out) const = 0;

  // A product takes two steps: inputs are prepared once, in `shared`; then any thread multiplies any panel of 64 rows
  // with a scratch of its own. preparation(): weights of as many columns that return the same number prepare the same
  // bytes of any number of tokens; 0: none.
  virtual std::uint64_t preparation() const noexcept { return 0; }
  virtual std::uint64_t input_grid() const noexcept { return 0; }                     // must be equal, too
  virtual std::span<const std::uint32_t> input_order() const noexcept { return {}; }  // this, too; empty: as they come
  virtual const InputRotation* input_rotation() const noexcept { return nullptr; }    // and what this is; null: none
  virtual std::size_t shared_bytes(std::size_t /*tokens*/) const noexcept { return 0; }
  virtual std::size_t worker_bytes() const noexcept = 0;
  virtual void prepare(const float* /*x*/, std::size_t /*tokens*/, ThreadPool& /*pool*/, std::byte* /*shared*/) const {}
  virtual void multiply_panel(std::size_t panel, const float* x, std::size_t tokens, float* y, std::byte* shared,
                              std::byte* worker) const = 0;

 protected:
  PackedWeights(std::uint64_t rows, std::uint64_t cols, std::string name)
      : rows_(rows), cols_(cols), name_(std::move(name)) {}
  std::uint64_t rows_, cols_;
  std::string name_;
};

// Whether floating-point weights are multiplied with bf16 activations. is_exact: each is a bf16 number but for the
// row's scale.
bool takes_bf16(Isa isa, const KernelOptions& options, bool is_exact);

// f32, f16 or bf16 elements interleaved in panels of 64 rows; multiplied in f32.
std::unique_ptr<PackedWeights> pack_raw_panels(const QuantizedView& weights, Machine& machine);

// Any format, kept as the file has it; tiles are decoded to f32 for every product.
std::unique_ptr<PackedWeights> pack_decoded_rows(const QuantizedView& weights, Machine& machine);

// Formats that are integers on a grid; null for others. Activations become int8.
std::unique_ptr<PackedWeights> pack_integer_panels(const QuantizedView& weights, const KernelOptions& options,
                                                   Machine& machine);

// Weights whose tensor has one scale more, which is multiplied behind each panel.
std::unique_ptr<PackedWeights> pack_scaled_panels(std::unique_ptr<PackedWeights> weights, float scale);

// Weights whose column c is multiplied with input order[c].
std::unique_ptr<PackedWeights> pack_ordered_panels(std::unique_ptr<PackedWeights> weights,
                                                   std::vector<std::uint32_t> order);

// Weights that are made for T x in place of x.
std::unique_ptr<PackedWeights> pack_rotated_panels(std::unique_ptr<PackedWeights> weights,
                                                   const ChannelTransform& transform, Isa isa);

// Weights of a format with outliers (format/outlier_format.h), of whose codes `weights` is made.
std::unique_ptr<PackedWeights> pack_outlier_panels(std::unique_ptr<PackedWeights> weights, const QuantizedView& view,
                                                   Machine& machine);

// Small binary floats on scales, kept as they are; null for others. Multiplied in f32, with the bits of
// pack_decoded_rows; or, where bf16 takes them and each is such a number but for the row's scale, as pairs of bf16.
std::unique_ptr<PackedWeights> pack_float_panels(const QuantizedView& weights, const KernelOptions& options,
                                                 Machine& machine);

// f32, f16 or bf16 elements as pairs of bf16 (rounded where they are not), multiplied with bf16 activations; null where
// there are no columns. The set must have the instruction.
std::unique_ptr<PackedWeights> pack_bf16_panels(const QuantizedView& weights, Machine& machine);

}  // namespace nibble
