// SPDX-License-Identifier: Apache-2.0
//
// Floating-point weights as pairs of bf16: [panel][column pair][64 rows][2].
#include <cstring>
#include <vector>

#include "base/half.h"
#include "kernels/linear/bf16_activations.h"
#include "kernels/linear/f32_panels.h"
#include "kernels/linear/interleave.h"
#include "kernels/linear/packed_weights.h"
#include "kernels/linear/resident_bytes.h"
#include "kernels/select.h"
#include "tensor/tensor.h"

namespace nibble {
namespace {

constexpr std::size_t kPairs = 128;  // of a chunk: its panel of 32 KiB stays in the nearest caches

class Bf16Panels final : public PackedWeights {
 public:
  Bf16Panels(const QuantizedView& w, Machine& machine)
      : PackedWeights(w.rows, w.cols, std::string(isa_name(machine.isa)) + "/bf16 from " + w.format->name()),
        kernels_(kernel_table(machine.isa)),
        pairs_((static_cast<std::size_t>(w.cols) + 1) / 2),
        bytes_(num_panels(w.rows) * pairs_ * 2 * kPanelRows * sizeof(std::uint16_t)) {
    const bool is_exact = w.specs[0].dtype == DType::bf16 && cols_ % 2 == 0;
    for_each_panel(machine.pool, num_panels(rows_), [&](std::size_t p, std::size_t) {
      if (is_exact)
        interleave(w, p, bytes_.as<std::uint32_t>() + p * pairs_ * kPanelRows);
      else
        round_panel(w, p);
    });
  }

  Arithmetic arithmetic() const noexcept override { return Arithmetic::bf16; }
  std::uint64_t resident_bytes() const noexcept override { return bytes_.size(); }

  std::uint64_t preparation() const noexcept override { return kBf16Preparation; }
  std::size_t shared_bytes(std::size_t tokens) const noexcept override {
    return tokens * x_stride() * sizeof(std::uint16_t);
  }
  std::size_t worker_bytes() const noexcept override { return kTokenBlock * kPanelRows * sizeof(float); }

  void prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const override {
    round_to_bf16(kernels_, x, tokens, cols_, pool, reinterpret_cast<std::uint16_t*>(shared));
  }

  void multiply_panel(std::size_t p, const float*, std::size_t tokens, float* y, std::byte* shared,
                      std::byte* worker) const override {
    const std::uint16_t* const rounded = reinterpret_cast<const std::uint16_t*>(shared);
    const PanelOutput out(y, rows_, p, tokens, reinterpret_cast<float*>(worker));
    for (std::size_t t = 0; t < tokens; t += kTokenBlock) {
      const std::size_t n = std::min(kTokenBlock, tokens - t);
      for (std::size_t k = 0; k < pairs_; k += kPairs)
        kernels_.bf16_tile(panel(p) + k * 2 * kPanelRows, std::min(kPairs, pairs_ - k),
                           rounded + t * x_stride() + 2 * k, x_stride(), n, out.data(t), out.stride(), k != 0);
      out.finish(kernels_, t, n);
    }
  }

  void decode_row(std::uint64_t row, float* out) const override {
    const std::size_t p = static_cast<std::size_t>(row / kPanelRows), r = static_cast<std::size_t>(row % kPanelRows);
    for (std::size_t c = 0; c < cols_; ++c) out[c] = bf16_to_f32(panel(p)[element(r, c)]);
  }

 private:
  void round_panel(const QuantizedView& w, std::size_t p) const {
    std::vector<float> row(static_cast<std::size_t>(cols_));
    for (std::size_t r = 0; r < kPanelRows && p * kPanelRows + r < rows_; ++r) {
      w.decode_row(p * kPanelRows + r, row);
      for (std::size_t c = 0; c < row.size(); ++c) panel(p)[element(r, c)] = f32_to_bf16(row[c]);
    }
  }

  std::size_t x_stride() const noexcept { return 2 * pairs_; }
  std::uint16_t* panel(std::size_t p) const { return bytes_.as<std::uint16_t>() + p * pairs_ * 2 * kPanelRows; }
  static std::size_t element(std::size_t row, std::size_t column) {
    return column / 2 * 2 * kPanelRows + row * 2 + column % 2;
  }

  const KernelTable& kernels_;
  std::size_t pairs_;
  ResidentBytes bytes_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_bf16_panels(const QuantizedView& weights, Machine& machine) {
  if (weights.cols == 0) return nullptr;
  return std::make_unique<Bf16Panels>(weights, machine);
}

}  // namespace nibble
