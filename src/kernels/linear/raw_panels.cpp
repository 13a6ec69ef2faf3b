// SPDX-License-Identifier: Apache-2.0
//
// Plain floating-point weights: [panel][column][64 rows], elements as the file has them.
#include <bit>

#include "base/half.h"
#include "kernels/linear/f32_panels.h"
#include "kernels/linear/interleave.h"
#include "kernels/linear/packed_weights.h"
#include "kernels/linear/resident_bytes.h"
#include "kernels/select.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class RawPanels final : public PackedWeights {
 public:
  RawPanels(const QuantizedView& w, DType dtype, Machine& machine)
      : PackedWeights(w.rows, w.cols, std::string(isa_name(machine.isa)) + "/f32 from " + w.format->name()),
        dtype_(dtype),
        kernels_(kernel_table(machine.isa)),
        panel_elements_(static_cast<std::size_t>(w.cols) * kPanelRows),
        bytes_(num_panels(w.rows) * panel_elements_ * dtype_size(dtype)) {
    for_each_panel(machine.pool, num_panels(rows_), [&](std::size_t p, std::size_t) {
      if (dtype_ == DType::f32)
        interleave(w, p, panel<std::uint32_t>(p));
      else
        interleave(w, p, panel<std::uint16_t>(p));
    });
  }

  std::uint64_t resident_bytes() const noexcept override { return bytes_.size(); }

  std::size_t worker_bytes() const noexcept override { return (kF32Depth + kTokenBlock) * kPanelRows * sizeof(float); }

  void multiply_panel(std::size_t p, const float* x, std::size_t tokens, float* y, std::byte*,
                      std::byte* worker) const override {
    float* const f32_panel = reinterpret_cast<float*>(worker);
    const PanelOutput out(y, rows_, p, tokens, f32_panel + kF32Depth * kPanelRows);
    for (std::size_t t = 0; t < tokens; t += kTokenBlock) {
      const std::size_t n = std::min(kTokenBlock, tokens - t);
      if (n == 1)
        vector_product(p, x + t * cols_, out.data(t));
      else
        tile_product(p, x + t * cols_, n, out.data(t), out.stride(), f32_panel);
      out.finish(kernels_, t, n);
    }
  }

  void decode_row(std::uint64_t row, float* out) const override {
    const std::size_t p = static_cast<std::size_t>(row / kPanelRows), r = static_cast<std::size_t>(row % kPanelRows);
    for (std::size_t c = 0; c < cols_; ++c) {
      const std::size_t i = c * kPanelRows + r;
      out[c] = dtype_ == DType::f32   ? panel<float>(p)[i]
               : dtype_ == DType::f16 ? f16_to_f32(panel<std::uint16_t>(p)[i])
                                      : bf16_to_f32(panel<std::uint16_t>(p)[i]);
    }
  }

 private:
  template <class T>
  T* panel(std::size_t p) const {
    return bytes_.as<T>(p * panel_elements_ * dtype_size(dtype_));
  }

  void vector_product(std::size_t p, const float* x, float* y) const {
    const std::size_t depth = static_cast<std::size_t>(cols_);
    if (dtype_ == DType::f32)
      kernels_.f32_tile(panel<float>(p), depth, kPanelRows, x, depth, 1, y, kPanelRows, 0);
    else if (dtype_ == DType::f16)
      kernels_.f16_vector(panel<std::uint16_t>(p), depth, x, y);
    else
      kernels_.bf16_vector(panel<std::uint16_t>(p), depth, x, y);
  }

  void tile_product(std::size_t p, const float* x, std::size_t tokens, float* y, std::size_t y_stride,
                    float* f32_panel) const {
    const std::size_t cols = static_cast<std::size_t>(cols_);
    for (std::size_t c = 0; c < cols; c += kF32Depth) {
      const std::size_t depth = std::min(kF32Depth, cols - c), offset = c * kPanelRows;
      const float* chunk = f32_panel;
      if (dtype_ == DType::f32)
        chunk = panel<float>(p) + offset;
      else if (dtype_ == DType::f16)
        kernels_.widen_f16(panel<std::uint16_t>(p) + offset, depth * kPanelRows, f32_panel);
      else
        kernels_.widen_bf16(panel<std::uint16_t>(p) + offset, depth * kPanelRows, f32_panel);
      kernels_.f32_tile(chunk, depth, kPanelRows, x + c, cols, tokens, y, y_stride, c != 0);
    }
  }

  DType dtype_;
  const KernelTable& kernels_;
  std::size_t panel_elements_;
  ResidentBytes bytes_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_raw_panels(const QuantizedView& weights, Machine& machine) {
  const DType dtype = weights.specs.at(0).dtype;
  if (dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16)
    throw Error(ErrorKind::unsupported,
                "weights of this element type cannot be multiplied; convert to f32, f16 or bf16: " +
                    std::string(dtype_name(dtype)));
  return std::make_unique<RawPanels>(weights, dtype, machine);
}

}  // namespace nibble
