// SPDX-License-Identifier: Apache-2.0
//
// The inputs of integer products: how they become int8, and where a call keeps their codes.
//
//   InputCodes inputs(form, options, cols, machine.isa);
//   inputs.prepare(x, tokens, pool, shared);                    // shared: inputs.bytes(tokens) of the caller's
//   const ActivationBuffers codes = inputs.buffers(shared, tokens);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/kernel_table.h"
#include "kernels/linear/integer_form.h"
#include "kernels/linear/linear.h"

namespace nibble {

// Activations of a call, in the caller's scratch: for each block of columns, all tokens.
struct ActivationBuffers {
  std::size_t runs;
  std::int8_t *codes, *wide, *sum_codes;
  std::uint64_t* wide_quads;
  float *scales, *sums;
  std::int32_t* biases;
  float* shifts;  // [tokens]: minus scale times zero point

  static std::size_t bytes(std::size_t blocks, std::size_t tokens, std::size_t runs);
  ActivationBuffers(std::byte* base, std::size_t blocks, std::size_t tokens, std::size_t num_runs);
  // Token `token` of block `block`, of `tokens` in all, has index block * tokens + token.
  QuantizedActivations at(std::size_t index) const {
    const ActivationTarget t = target(index);
    return {runs, t.codes, t.scales, t.biases, t.sums, t.sum_codes, t.wide, t.wide_quads};
  }
  ActivationTarget target(std::size_t index) const {
    return {codes + index * kBlockDepth,
            scales + index * runs,
            biases + index * kMaxGroups,
            sums + index * kMaxGroups,
            sum_codes + index * runs * kSumCodes,
            wide + index * kBlockDepth,
            wide_quads + index};
  }
};

class InputCodes {
 public:
  InputCodes(const IntegerForm& form, const KernelOptions& options, std::uint64_t cols, Isa isa);

  const ActivationRounding& rounding() const noexcept { return rounding_; }
  const ActivationFormat& format() const noexcept { return format_; }
  std::size_t num_blocks() const noexcept { return num_blocks_; }
  // Whether no scale changes along a row of weights or of activations.
  bool sums_whole_rows() const noexcept { return sums_whole_rows_; }
  // Of columns of a block, where each stands in what the weights' units are decoded to.
  std::size_t place_of(std::size_t column) const { return column / 32 * 32 + places_[column % 32]; }

  // What the codes depend on (PackedWeights::preparation, above the numbers of other preparations; input_grid).
  std::uint64_t preparation() const noexcept;
  std::uint64_t grid() const noexcept;

  std::size_t bytes(std::size_t tokens) const noexcept {
    return ActivationBuffers::bytes(num_blocks_, tokens, num_runs());
  }
  ActivationBuffers buffers(std::byte* shared, std::size_t tokens) const {
    return {shared, num_blocks_, tokens, num_runs()};
  }
  // x: [tokens, cols]. shared: bytes(tokens) of them, aligned to 64. Whoever multiplies calls it once for an input,
  // before any panel; panels then read the codes from all threads.
  void prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const;
  // One token of ones, worth one each: products with it are sums of weights. shared: bytes(1).
  void prepare_ones(std::byte* shared) const;

 private:
  std::size_t num_runs() const noexcept { return kBlockDepth / rounding_.run; }
  std::size_t columns_of(std::size_t block) const;
  void quantize_token(const float* x, std::size_t token, std::size_t tokens,
                      const ActivationBuffers& activations) const;
  void put_on_grid(const ActivationScale& grid, const float* x, std::size_t token, std::size_t tokens,
                   const ActivationBuffers& activations) const;
  void gather_biases(std::size_t token, std::size_t tokens, const ActivationBuffers& activations) const;
  void reorder(const ActivationTarget& target) const;
  void reorder(std::int8_t* codes) const;

  ActivationFormat format_;
  ActivationRounding rounding_;
  ActivationGrid grid_;  // where they are static
  const KernelTable& kernels_;
  std::size_t cols_, num_blocks_;
  std::uint8_t unit_columns_;
  bool sums_whole_rows_;
  std::array<std::uint8_t, 32> places_;
};

}  // namespace nibble
