// SPDX-License-Identifier: Apache-2.0
//
// The path that takes every format: rows stay as the file has them; a panel of 64 rows is decoded to f32 for each
// product.
#include <span>

#include "kernels/linear/f32_panels.h"
#include "kernels/linear/packed_weights.h"
#include "kernels/linear/resident_bytes.h"
#include "kernels/select.h"

namespace nibble {
namespace {

class DecodedRows final : public PackedWeights {
 public:
  DecodedRows(const QuantizedView& w, Isa isa)
      : PackedWeights(w.rows, w.cols, std::string(isa_name(isa)) + "/f32 from rows of " + w.format->name()),
        kernels_(kernel_table(isa)),
        view_(w) {
    for (auto& plane : view_.planes) {
      ResidentBytes copy(plane.size());
      if (!plane.empty()) std::memcpy(copy.data(), plane.data(), plane.size());
      plane = {copy.data(), copy.size()};
      planes_.push_back(std::move(copy));
    }
  }

  std::uint64_t resident_bytes() const noexcept override {
    std::uint64_t total = 0;
    for (const ResidentBytes& plane : planes_) total += plane.size();
    return total;
  }

  // Decoded rows, an f32 panel, a tile of results.
  std::size_t worker_bytes() const noexcept override {
    return (row_stride() + kF32Depth + kTokenBlock) * kPanelRows * sizeof(float);
  }

  void multiply_panel(std::size_t p, const float* x, std::size_t tokens, float* y, std::byte*,
                      std::byte* worker) const override {
    const std::size_t cols = static_cast<std::size_t>(cols_);
    float* const decoded = reinterpret_cast<float*>(worker);
    float* const f32_panel = decoded + row_stride() * kPanelRows;
    decode_panel(p, decoded);
    const PanelOutput out(y, rows_, p, tokens, f32_panel + kF32Depth * kPanelRows);
    for (std::size_t t = 0; t < tokens; t += kTokenBlock) {
      const std::size_t n = std::min(kTokenBlock, tokens - t);
      for (std::size_t c = 0; c < cols; c += kF32Depth) {
        const std::size_t depth = std::min(kF32Depth, cols - c);
        kernels_.transpose_rows(decoded + c, row_stride(), depth, f32_panel);
        kernels_.f32_tile(f32_panel, depth, kPanelRows, x + t * cols + c, cols, n, out.data(t), out.stride(), c != 0);
      }
      out.finish(kernels_, t, n);
    }
  }

  void decode_row(std::uint64_t row, float* out) const override {
    view_.decode_row(row, {out, static_cast<std::size_t>(cols_)});
  }

 private:
  std::size_t row_stride() const noexcept { return (static_cast<std::size_t>(cols_) + 15) / 16 * 16; }

  void decode_panel(std::size_t p, float* decoded) const {
    for (std::size_t r = 0; r < kPanelRows; ++r) {
      const std::uint64_t row = p * kPanelRows + r;
      float* const out = decoded + r * row_stride();
      if (row < rows_)
        decode_row(row, out);
      else
        std::fill_n(out, row_stride(), 0.0f);
    }
  }

  const KernelTable& kernels_;
  QuantizedView view_;
  std::vector<ResidentBytes> planes_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_decoded_rows(const QuantizedView& weights, Machine& machine) {
  return std::make_unique<DecodedRows>(weights, machine.isa);
}

}  // namespace nibble
