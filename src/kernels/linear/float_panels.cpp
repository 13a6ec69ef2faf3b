// SPDX-License-Identifier: Apache-2.0
//
// Small binary floats on scales: codes and scales lie as those of integers do (integer_shape.h); a block is widened in
// the nearest cache and multiplied with all tokens.
#include <array>

#include "base/round_up.h"
#include "kernels/linear/bf16_activations.h"
#include "kernels/linear/f32_panels.h"
#include "kernels/linear/integer_form_planar.h"
#include "kernels/linear/packed_weights.h"
#include "kernels/linear/resident_block.h"
#include "kernels/linear/resident_bytes.h"
#include "kernels/select.h"

namespace nibble {
namespace {

constexpr std::size_t kFewColumns = 32;  // widened at a time for a single token: 8 KiB stay in the nearest cache

// What one thread widens a block into.
struct Buffers {
  float *tile, *wide, *scales;
  std::uint16_t* pairs;
  std::uint8_t *operands, *multiples;

  static constexpr std::size_t kTile = kTokenBlock * 64 * sizeof(float), kWide = kBlockDepth * 64 * sizeof(float);
  static constexpr std::size_t kScales = kMaxGroups * 64 * sizeof(float),
                               kPairs = kBlockDepth * 64 * sizeof(std::uint16_t);
  static constexpr std::size_t kOperands = kBlockDepth * 64, kMultiples = 2 * kMaxGroups * 64;
  static constexpr std::size_t kBytes = kTile + kWide + kScales + kPairs + kOperands + kMultiples;
  explicit Buffers(std::byte* base)
      : tile(reinterpret_cast<float*>(base)),
        wide(reinterpret_cast<float*>(base + kTile)),
        scales(reinterpret_cast<float*>(base + kTile + kWide)),
        pairs(reinterpret_cast<std::uint16_t*>(base + kTile + kWide + kScales)),
        operands(reinterpret_cast<std::uint8_t*>(base + kTile + kWide + kScales + kPairs)),
        multiples(operands + kOperands) {}
};

class FloatPanels final : public PackedWeights {
 public:
  FloatPanels(const QuantizedView& w, const FloatForm& form, Arithmetic arithmetic, Machine& machine)
      : PackedWeights(w.rows, w.cols,
                      std::string(isa_name(machine.isa)) + (arithmetic == Arithmetic::bf16 ? "/bf16" : "/f32") +
                          " from codes of " + w.format->name()),
        form_(form),
        arithmetic_(arithmetic),
        kernels_(kernel_table(machine.isa)),
        num_blocks_((static_cast<std::size_t>(w.cols) + kBlockDepth - 1) / kBlockDepth),
        panel_bytes_(block_offset(num_blocks_ - 1) + block_bytes(form.form.shape, depth_of(num_blocks_ - 1))),
        bytes_(num_panels(w.rows) * panel_bytes_),
        row_scales_(has_row_scales(form.form.shape) ? num_panels(w.rows) * kPanelRows * sizeof(float) : 0) {
    for_each_panel(machine.pool, num_panels(rows_), [&](std::size_t p, std::size_t) { pack_panel(w, p); });
    form_.form.format = nullptr;  // only packing needed it
  }

  Arithmetic arithmetic() const noexcept override { return arithmetic_; }
  std::uint64_t resident_bytes() const noexcept override { return bytes_.size() + row_scales_.size(); }
  std::size_t worker_bytes() const noexcept override { return Buffers::kBytes; }
  std::uint64_t preparation() const noexcept override { return uses_bf16() ? kBf16Preparation : 0; }
  std::size_t shared_bytes(std::size_t tokens) const noexcept override {
    return uses_bf16() ? tokens * bf16_stride(cols_) * sizeof(std::uint16_t) : 0;
  }
  void prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const override {
    if (uses_bf16()) round_to_bf16(kernels_, x, tokens, cols_, pool, reinterpret_cast<std::uint16_t*>(shared));
  }

  void multiply_panel(std::size_t p, const float* x, std::size_t tokens, float* y, std::byte* shared,
                      std::byte* worker) const override {
    const Buffers buffers(worker);
    const PanelOutput out(y, rows_, p, tokens, buffers.tile);
    for (std::size_t t = 0; t < tokens; t += kTokenBlock) {
      const std::size_t n = std::min(kTokenBlock, tokens - t), step = n == 1 ? kFewColumns : kBlockDepth;
      for (std::size_t b = 0; b < num_blocks_; ++b) {
        const std::uint8_t* const codes = prepare_block(p, b, buffers);
        const std::size_t columns = columns_of(b);
        for (std::size_t c = 0; c < columns; c += step) {
          const std::size_t count = std::min(step, columns - c), at = b * kBlockDepth + c, padded = round_up(count, 4);
          kernels_.widen_float_codes(form_.codes, codes + c * 64, padded, buffers.scales + c / group() * 64, group(),
                                     buffers.wide);
          if (uses_bf16()) {
            kernels_.pair_bf16(buffers.wide, padded, buffers.pairs);
            kernels_.bf16_tile(buffers.pairs, (count + 1) / 2,
                               reinterpret_cast<const std::uint16_t*>(shared) + t * bf16_stride(cols_) + at,
                               bf16_stride(cols_), n, out.data(t), out.stride(), at != 0);
          } else {
            kernels_.f32_tile(buffers.wide, count, kPanelRows, x + t * cols_ + at, static_cast<std::size_t>(cols_), n,
                              out.data(t), out.stride(), at != 0);
          }
        }
      }
      if (scales_come_last()) scale_rows(p, n, out.data(t), out.stride());
      out.finish(kernels_, t, n);
    }
  }

  void decode_row(std::uint64_t row, float* out) const override {
    const std::size_t p = static_cast<std::size_t>(row / kPanelRows), r = static_cast<std::size_t>(row % kPanelRows);
    alignas(64) float scales[kMaxGroups * 64];
    alignas(64) std::uint8_t multiples[Buffers::kMultiples];
    for (std::size_t b = 0; b < num_blocks_; ++b) {
      ExpandedGrid grid{scales, nullptr, nullptr, multiples, nullptr};
      kernels_.expand_grid(form_.form.shape, block_at(p, b), panel_row_scales(p), depth_of(b), grid);
      for (std::size_t c = 0; c < columns_of(b); ++c)
        out[b * kBlockDepth + c] =
            scales[c / group() * 64 + r] * form_.values[read_code(form_.form.shape, block_at(p, b), depth_of(b), r, c)];
    }
  }

 private:
  bool uses_bf16() const { return arithmetic_ == Arithmetic::bf16; }
  // Powers of two are part of the bf16 numbers; others would be rounded.
  bool scales_come_last() const { return uses_bf16() && form_.form.shape.scale == ScaleKind::row; }
  std::size_t group() const { return kernel_group(form_.form.shape); }
  std::size_t columns_of(std::size_t b) const {
    return std::min(kBlockDepth, static_cast<std::size_t>(cols_) - b * kBlockDepth);
  }
  std::size_t depth_of(std::size_t b) const {
    return std::min(kBlockDepth, round_up(static_cast<std::size_t>(cols_) - b * kBlockDepth, kDepthUnit));
  }
  std::size_t block_offset(std::size_t b) const { return b * block_bytes(form_.form.shape, kBlockDepth); }
  std::uint8_t* block_at(std::size_t p, std::size_t b) const {
    return bytes_.as<std::uint8_t>(p * panel_bytes_ + block_offset(b));
  }
  float* panel_row_scales(std::size_t p) const {
    return row_scales_.size() == 0 ? nullptr : row_scales_.as<float>() + p * kPanelRows;
  }

  void pack_panel(const QuantizedView& w, std::size_t p) const {
    const std::size_t count = std::min<std::size_t>(kPanelRows, static_cast<std::size_t>(rows_) - p * kPanelRows);
    for (std::size_t r = 0; r < count; ++r) {
      BlockCodes codes = {};
      for (std::size_t b = 0; b < num_blocks_; ++b) {
        std::fill(codes.codes + columns_of(b), codes.codes + depth_of(b), std::uint8_t{0});
        form_.form.read(form_.form, w.row(p * kPanelRows + r), b, columns_of(b), codes);
        write_block_row(form_.form.shape, codes, depth_of(b), r, block_at(p, b));
      }
      if (has_row_scales(form_.form.shape)) panel_row_scales(p)[r] = codes.row_scale;
    }
  }

  // The block's codes, one byte each; its scales in buffers.scales.
  const std::uint8_t* prepare_block(std::size_t p, std::size_t b, const Buffers& buffers) const {
    const IntegerShape& shape = form_.form.shape;
    const std::uint8_t* const block = block_at(p, b);
    if (scales_come_last()) {
      std::fill_n(buffers.scales, 2 * 64, 1.0f);
    } else {
      ExpandedGrid grid{buffers.scales, nullptr, nullptr, buffers.multiples, nullptr};
      kernels_.expand_grid(shape, block, panel_row_scales(p), depth_of(b), grid);
    }
    if (shape.low_bits == 8) return block + low_plane_offset(shape, depth_of(b));
    kernels_.unpack_codes(shape, block, depth_of(b), buffers.operands);
    return buffers.operands;
  }

  void scale_rows(std::size_t p, std::size_t tokens, float* y, std::size_t stride) const {
    const float* const scales = panel_row_scales(p);
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t r = 0; r < kPanelRows; ++r) y[t * stride + r] *= scales[r];
  }

  FloatForm form_;
  Arithmetic arithmetic_;
  const KernelTable& kernels_;
  std::size_t num_blocks_, panel_bytes_;
  ResidentBytes bytes_, row_scales_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_float_panels(const QuantizedView& weights, const KernelOptions& options,
                                                 Machine& machine) {
  const auto form = float_form(*weights.format);
  if (!form || weights.cols == 0 || has_multiples(form->form.shape)) return nullptr;
  const ScaleKind scale = form->form.shape.scale;
  const bool is_exact = scale == ScaleKind::row || scale == ScaleKind::e8m0,
             bf16 = is_exact && takes_bf16(machine.isa, options, is_exact);
  return std::make_unique<FloatPanels>(weights, *form, bf16 ? Arithmetic::bf16 : Arithmetic::f32, machine);
}

}  // namespace nibble
