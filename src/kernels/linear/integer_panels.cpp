// SPDX-License-Identifier: Apache-2.0
//
// Quantized weights multiplied as integers: repacked once into panels (integer_shape.h), or copied where their tiles
// are panels already (trellis_kernels.h); for every product, activations become int8, and each block is decoded to
// 8-bit operands in the nearest cache, to be multiplied with all tokens.
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "base/round_up.h"
#include "format/lattice/e8p_points.h"
#include "format/trellis/trellis_format.h"
#include "kernels/linear/f32_panels.h"
#include "kernels/linear/input_codes.h"
#include "kernels/linear/integer_form.h"
#include "kernels/linear/integer_form_planar.h"
#include "kernels/linear/lattice_octets.h"
#include "kernels/linear/packed_weights.h"
#include "kernels/linear/resident_block.h"
#include "kernels/linear/resident_bytes.h"
#include "kernels/select.h"

namespace nibble {
namespace {

// --- products --------------------------------------------------------------------------------------------------------

// What one thread decodes a block into.
struct PanelBuffers {
  std::uint8_t *operands, *decoded;
  ExpandedGrid grid;
  float* tile;

  static constexpr std::size_t kOperandBytes = kBlockDepth * 64, kGridFloats = kMaxGroups * 64,
                               kTileFloats = kTokenBlock * 64;
  static constexpr std::size_t kMultipleBytes = 2 * kMaxGroups * 64;
  // Of units: 4-bit codes, super scales, multiples; of tiles and octets: operands.
  static constexpr std::size_t kDecodedBytes =
      std::max<std::size_t>(kBlockDepth * 32 + 128 + kMaxGroups * 64, kOperandBytes);
  static constexpr std::size_t kBytes =
      kOperandBytes + kMultipleBytes + kDecodedBytes + (2 * kGridFloats + 128 + kTileFloats) * sizeof(float);
  explicit PanelBuffers(std::byte* base) {
    operands = reinterpret_cast<std::uint8_t*>(base);
    grid.bytes = operands + kOperandBytes;
    grid.scales = reinterpret_cast<float*>(grid.bytes + kMultipleBytes);
    grid.offsets = grid.scales + kGridFloats;
    grid.super = grid.offsets + kGridFloats;
    grid.minima = nullptr;
    tile = grid.super + 128;
    decoded = reinterpret_cast<std::uint8_t*>(tile + kTileFloats);
  }
};

// For which operands are not worth another pass: they give the same bits without it, as sums of 128 columns stay below
// 2^24. Where all columns may be wide they do not.
constexpr std::size_t kFewTokens = 32;

struct RowScales {
  alignas(64) float of_row[kPanelRows];
};

class IntegerPanels final : public PackedWeights {
 public:
  IntegerPanels(const QuantizedView& w, const IntegerForm& form, const KernelOptions& options, Machine& machine)
      : PackedWeights(w.rows, w.cols,
                      std::string(isa_name(machine.isa)) + "/int8 " + layout_name(form, machine.isa) + " from " +
                          w.format->name()),
        form_(form),
        inputs_(form, options, w.cols, machine.isa),
        kernels_(kernel_table(machine.isa)),
        trellis_kernels_(trellis_kernels(machine.isa)),
        lattice_kernels_(lattice_kernels(machine.isa)),
        num_blocks_(inputs_.num_blocks()),
        panel_bytes_(num_blocks_ == 0 ? 0 : block_offset(num_blocks_ - 1) + stored_bytes(depth_of(num_blocks_ - 1))),
        bytes_(num_panels(w.rows) * panel_bytes_ + (form.trellis ? kTileSlack : 0)),
        row_scales_(has_row_scales(form.shape) ? num_panels(w.rows) * kPanelRows * sizeof(float) : 0) {
    form_.tensor_grid = w.tensor_grid.get();
    if (has_nested_scales()) nested_ = nested_scales(*form_.tensor_grid);
    form_.shape.scale_offset = nested_.offset;
    for_each_panel(machine.pool, num_panels(rows_), [&](std::size_t p, std::size_t) { pack_panel(w, p); });
    form_.format = nullptr;  // only packing needed them
    form_.tensor_grid = nullptr;
    if (inputs_.format().is_asymmetric) sum_rows(machine);
  }

  Arithmetic arithmetic() const noexcept override { return Arithmetic::int8; }
  std::uint64_t resident_bytes() const noexcept override {
    return bytes_.size() + row_scales_.size() + (row_sums_.size() + nested_.bases.size()) * sizeof(float);
  }

  std::uint64_t preparation() const noexcept override { return inputs_.preparation(); }
  std::uint64_t input_grid() const noexcept override { return inputs_.grid(); }
  std::size_t shared_bytes(std::size_t tokens) const noexcept override { return inputs_.bytes(tokens); }
  std::size_t worker_bytes() const noexcept override { return PanelBuffers::kBytes; }

  void prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const override {
    inputs_.prepare(x, tokens, pool, shared);
  }

  void multiply_panel(std::size_t p, const float*, std::size_t tokens, float* y, std::byte* shared,
                      std::byte* worker) const override {
    const PanelBuffers buffers(worker);
    multiply_tokens(p, inputs_.buffers(shared, tokens), tokens, PanelOutput(y, rows_, p, tokens, buffers.tile),
                    buffers);
  }

  void decode_row(std::uint64_t row, float* out) const override {
    const std::size_t p = static_cast<std::size_t>(row / kPanelRows), r = static_cast<std::size_t>(row % kPanelRows);
    IntegerShape shape = form_.shape;
    if (shape.has_table) shape.factor = 1;  // the exact points, not their integers
    alignas(64) float scales[kMaxGroups * 64], offsets[kMaxGroups * 64], super[128];
    alignas(64) std::uint8_t bytes[PanelBuffers::kMultipleBytes], decoded[PanelBuffers::kDecodedBytes];
    for (std::size_t b = 0; b < num_blocks_; ++b) {
      const std::size_t depth = depth_of(b),
                        columns = std::min(kBlockDepth, static_cast<std::size_t>(cols_) - b * kBlockDepth);
      const std::uint8_t* const block = regular_block(p, b, decoded);
      ExpandedGrid grid{scales, offsets, super, bytes, nullptr};
      RowScales row_scales;
      kernels_.expand_grid(shape, block, block_row_scales(p, b, row_scales), depth, grid);
      for (std::size_t c = 0; c < columns; ++c) {
        const std::size_t group = c / kernel_group(shape), g = group * 64 + r;
        const std::uint8_t code = read_code(shape, block, depth, r, inputs_.place_of(c));
        const float scale = has_multiples(shape) ? scales[g] * super[r] : scales[g];
        const float offset = grid.minima != nullptr
                                 ? super[64 + r] * static_cast<float>(grid.minima[group / 4 * 256 + r * 4 + group % 4])
                                 : offsets[g];
        out[b * kBlockDepth + c] = value_of(shape, block, depth, r, c, code, scale, offset);
      }
    }
  }

 private:
  static std::string layout_name(const IntegerForm& form, Isa isa) {
    const IntegerShape& s = form.shape;
    if (form.units.columns != 0) return std::to_string(form.units.index_bits) + "-bit units";
    if (form.trellis)
      return std::to_string(form.trellis->shape.code_bits) + "-bit tiles by " + trellis_kernels(isa).name;
    if (form.lattice) return std::to_string(8 * (2 + form.lattice->num_refinements)) + "-bit octets";
    std::string name = std::to_string(s.low_bits);
    if (s.high_bits != 0) name.append("+").append(std::to_string(s.high_bits));
    return name.append(s.has_table ? "-bit table" : "-bit");
  }

  float value_of(const IntegerShape& shape, const std::uint8_t* block, std::size_t depth, std::size_t r, std::size_t c,
                 std::uint8_t code, float scale, float offset) const {
    if (shape.has_table) return scale * form_.table[code];
    const int operand = shape.low_bits == 1 ? 2 * code : code, middle = shape.middle + (shape.signed_codes ? 128 : 0);
    if (shape.offset == OffsetKind::zero8 || shape.offset == OffsetKind::zero_packed)
      return scale *
             static_cast<float>(operand - zero_of(shape, block + offsets_offset(shape, depth), c / shape.group, r));
    const float product = scale * static_cast<float>(operand - middle);
    return shape.offset == OffsetKind::none ? product : product + offset;
  }

  std::size_t padded_cols() const { return round_up(static_cast<std::size_t>(cols_), kDepthUnit); }
  std::size_t block_offset(std::size_t b) const { return b * stored_bytes(kBlockDepth); }
  bool has_units() const { return form_.units.columns != 0; }
  // Whether results of several tokens begin with the zero points' part; whole rows are given it with their scales.
  bool begins_with_shifts() const { return inputs_.format().is_asymmetric && !inputs_.sums_whole_rows(); }
  // Of a resident block. Units come in whole blocks only.
  std::size_t stored_bytes(std::size_t depth) const {
    if (form_.trellis) return depth / kTrellisCols * tile_bytes(form_.trellis->shape);
    if (form_.lattice) return depth / kLatticeCols * octet_bytes(form_.lattice->num_refinements);
    return has_units() ? unit_block_bytes(form_.units, form_.shape.group) : block_bytes(form_.shape, depth);
  }
  // A resident block, or what its units, tiles or octets are decoded to.
  const std::uint8_t* regular_block(std::size_t p, std::size_t b, std::uint8_t* decoded) const {
    if (form_.trellis) {
      trellis_kernels_.decode(*form_.trellis, block_at(p, b), depth_of(b) / kTrellisCols, decoded);
      return decoded;
    }
    if (form_.lattice) {
      lattice_kernels_.decode(form_.lattice->num_refinements, block_at(p, b), depth_of(b) / kLatticeCols, decoded);
      return decoded;
    }
    if (!has_units()) return block_at(p, b);
    kernels_.expand_units(form_.units, form_.shape.group, block_at(p, b), decoded);
    return decoded;
  }
  std::size_t depth_of(std::size_t b) const {
    return std::min(kBlockDepth, round_up(static_cast<std::size_t>(cols_) - b * kBlockDepth, kDepthUnit));
  }
  std::uint8_t* block_at(std::size_t p, std::size_t b) const {
    return bytes_.as<std::uint8_t>(p * panel_bytes_ + block_offset(b));
  }
  float* panel_row_scales(std::size_t p) const {
    return row_scales_.size() == 0 ? nullptr : row_scales_.as<float>() + p * kPanelRows;
  }

  bool has_nested_scales() const { return form_.shape.scale == ScaleKind::nested8; }
  // What the scales of one block are made of beside its own bytes.
  const float* block_row_scales(std::size_t p, std::size_t b, RowScales& scales) const {
    if (!has_nested_scales()) return panel_row_scales(p);
    const std::size_t count = std::min<std::size_t>(kPanelRows, static_cast<std::size_t>(rows_) - p * kPanelRows);
    nested_.copy_bases(p * kPanelRows, count, b * (kBlockDepth / form_.shape.group), scales.of_row);
    std::fill(scales.of_row + count, scales.of_row + kPanelRows, 0.0f);
    return scales.of_row;
  }

  void pack_panel(const QuantizedView& w, std::size_t p) const {
    const std::size_t count = std::min<std::size_t>(kPanelRows, static_cast<std::size_t>(rows_) - p * kPanelRows);
    if (form_.trellis) return copy_tiles(w, p, count);
    if (form_.lattice) return copy_octets(w, p, count);
    for (std::size_t r = 0; r < count; ++r) {
      const ConstRowPlanes row = w.row(p * kPanelRows + r);
      BlockCodes codes = {};
      codes.row = p * kPanelRows + r;
      for (std::size_t b = 0; b < num_blocks_; ++b) {
        const std::size_t columns = std::min(kBlockDepth, static_cast<std::size_t>(cols_) - b * kBlockDepth);
        form_.read(form_, row, b, columns, codes);
        if (has_units())
          write_unit_row(form_.units, form_.shape.group, codes, r, block_at(p, b));
        else
          write_block_row(form_.shape, codes, depth_of(b), r, block_at(p, b));
      }
      if (has_row_scales(form_.shape)) panel_row_scales(p)[r] = codes.row_scale;
    }
  }

  // Tiles lie in memory as they are stored.
  void copy_tiles(const QuantizedView& w, std::size_t p, std::size_t count) const {
    static_assert(kTrellisRows == kPanelRows);
    const std::size_t tiles = static_cast<std::size_t>(cols_) / kTrellisCols;
    std::memcpy(block_at(p, 0), w.row(p * kPanelRows)[0], tiles * tile_bytes(form_.trellis->shape));
    for (std::size_t r = 0; r < count; ++r) {
      std::uint16_t half;
      std::memcpy(&half, w.row(p * kPanelRows + r)[1], sizeof(half));
      panel_row_scales(p)[r] = f16_to_f32(half);
    }
  }

  // The codes of rows side by side.
  void copy_octets(const QuantizedView& w, std::size_t p, std::size_t count) const {
    const std::size_t num_refinements = form_.lattice->num_refinements;
    for (std::size_t r = 0; r < count; ++r) {
      const ConstRowPlanes row = w.row(p * kPanelRows + r);
      for (std::size_t octet = 0; octet < static_cast<std::size_t>(cols_) / kLatticeCols; ++octet) {
        std::uint8_t* const codes = block_at(p, 0) + octet * octet_bytes(num_refinements);
        const std::byte* const code = row[0] + octet * (2 + num_refinements);
        std::memcpy(codes + 2 * r, code, 2);
        for (std::size_t i = 0; i < num_refinements; ++i)
          codes[(2 + i) * kPanelRows + r] = std::to_integer<std::uint8_t>(code[2 + i]);
      }
      std::uint16_t half;
      std::memcpy(&half, row[1], sizeof(half));
      panel_row_scales(p)[r] = f16_to_f32(half);
    }
  }

  // Each row's sum of weights, which is its product with ones.
  void sum_rows(Machine& machine) {
    row_sums_.resize(num_panels(rows_) * kPanelRows);
    const std::size_t shared = shared_bytes(1);
    std::byte* const base = machine.scratch.reserve(shared + machine.pool.num_threads() * worker_bytes());
    inputs_.prepare_ones(base);
    const ActivationBuffers ones = inputs_.buffers(base, 1);
    std::vector<float> sums(row_sums_.size());
    for_each_panel(machine.pool, num_panels(rows_), [&](std::size_t p, std::size_t thread) {
      const PanelBuffers buffers(base + shared + thread * worker_bytes());
      multiply_tokens(p, ones, 1, PanelOutput(sums.data(), sums.size(), p, 1, buffers.tile),
                      buffers);  // row_sums_ are still zeros
    });
    row_sums_ = std::move(sums);
  }

  // Results begin with the zero points' part, which is the same for all columns: minus scale * zero * the row's sum.
  void begin(std::size_t p, const float* shifts, std::size_t tokens, float* y, std::size_t stride) const {
    const float* const sums = row_sums_.data() + p * kPanelRows;
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t r = 0; r < kPanelRows; ++r) y[t * stride + r] = shifts[t] * sums[r];
  }

  // Whether single tokens have kernels of their own.
  bool has_vector() const {
    if (form_.trellis) return trellis_kernels_.vector != nullptr;
    if (form_.lattice) return lattice_kernels_.vector != nullptr;
    return kernels_.integer_vector != nullptr;
  }

  void multiply_tokens(std::size_t p, const ActivationBuffers& activations, std::size_t tokens, const PanelOutput& out,
                       const PanelBuffers& buffers) const {
    const bool shifted = inputs_.format().is_asymmetric;
    if (tokens == 1 && has_vector()) {
      if (shifted) begin(p, activations.shifts, 1, out.data(0), kPanelRows);
      multiply_vector(p, activations, out.data(0), buffers, shifted);
      return out.finish(kernels_, 0, 1);
    }
    for (std::size_t t = 0; t < tokens; t += kTokenBlock) {
      const std::size_t n = std::min(kTokenBlock, tokens - t);
      if (begins_with_shifts()) begin(p, activations.shifts + t, n, out.data(t), out.stride());
      const Results sums{out.data(t), out.stride()},
          wanted = out.target(t) == nullptr ? sums : Results{out.target(t), out.rows()};
      for (std::size_t b = 0; b < num_blocks_; ++b)
        multiply_block(p, b, activations.at(b * tokens + t), n, sums, b + 1 == num_blocks_ ? wanted : sums,
                       activations.shifts + t, buffers);
      if (out.target(t) == nullptr) out.finish(kernels_, t, n);
    }
  }

  void multiply_vector(std::size_t p, const ActivationBuffers& activations, float* y, const PanelBuffers& buffers,
                       bool accumulate) const {
    RowScales row_scales;
    const bool has_tiles = form_.trellis || form_.lattice, is_packed = form_.shape.low_bits != 8 || has_tiles;
    const std::size_t ahead = is_packed ? kernels_.read_ahead.packed : kernels_.read_ahead.whole;
    if (has_tiles) {
      const TileVector product{block_at(p, 0),
                               padded_cols(),
                               panel_row_scales(p),
                               inputs_.rounding().run,
                               inputs_.sums_whole_rows(),
                               activations.at(0),
                               ahead,
                               y,
                               accumulate};
      return form_.trellis ? trellis_kernels_.vector(*form_.trellis, product)
                           : lattice_kernels_.vector(form_.lattice->num_refinements, product);
    }
    if (has_nested_scales() && !nested_.has_one_base_a_row()) {
      for (std::size_t b = 0; b < num_blocks_; ++b)
        kernels_.integer_vector(form_.shape, block_at(p, b), block_row_scales(p, b, row_scales), depth_of(b),
                                activations.at(b), ahead, y, accumulate || b != 0);
      return;
    }
    if (inputs_.sums_whole_rows())
      return kernels_.row_vector(form_.shape, block_at(p, 0), panel_row_scales(p), padded_cols(), activations.at(0),
                                 ahead, y, accumulate);
    if (!has_units())
      return kernels_.integer_vector(form_.shape, block_at(p, 0), block_row_scales(p, 0, row_scales), padded_cols(),
                                     activations.at(0), ahead, y, accumulate);
    if (kernels_.unit_vector != nullptr)
      return kernels_.unit_vector(form_.units, form_.shape, block_at(p, 0), num_blocks_, activations.at(0), y,
                                  accumulate);
    for (std::size_t b = 0; b < num_blocks_; ++b)
      kernels_.integer_vector(form_.shape, regular_block(p, b, buffers.decoded), nullptr, kBlockDepth,
                              activations.at(b), 0, y, accumulate || b != 0);
  }

  // [tokens, 64]
  struct Results {
    float* first;
    std::size_t stride;
  };
  // sums: of the blocks before it; wanted: where they are with this one. shifts: of the tokens.
  void multiply_block(std::size_t p, std::size_t b, const QuantizedActivations& x, std::size_t tokens,
                      const Results& sums, const Results& wanted, const float* shifts,
                      const PanelBuffers& buffers) const {
    const IntegerShape& shape = form_.shape;
    const std::uint8_t* const block = regular_block(p, b, buffers.decoded);
    const std::size_t depth = depth_of(b);
    IntegerProduct product{};
    product.panel = block + low_plane_offset(shape, depth);
    if (shape.low_bits != 8) {
      kernels_.unpack_codes(shape, block, depth, buffers.operands);
      product.panel = buffers.operands;
    }
    product.grid = buffers.grid;
    RowScales row_scales;
    kernels_.expand_grid(shape, block, block_row_scales(p, b, row_scales), depth, product.grid);
    if (shape.offset == OffsetKind::none || has_minima(shape)) product.grid.offsets = nullptr;
    if (!has_multiples(shape)) product.grid.super = nullptr;
    product.depth = depth;
    product.group = kernel_group(shape);
    product.run = inputs_.rounding().run;
    product.minima_quads = product.group == 16 ? 2 : 1;
    if (has_small_multiples(shape) && tokens > kFewTokens && inputs_.format().wide != WideColumns::all) {
      kernels_.multiply_operands(product.grid.bytes, depth, buffers.operands);
      product.group = kActivationDepth;
      std::fill_n(product.grid.scales, 2 * kPanelRows, 1.0f);
    }
    product.x = x;
    product.tokens = tokens;
    product.y = sums.first;
    product.y_stride = sums.stride;
    product.target = wanted.first;
    product.target_stride = wanted.stride;
    product.sums_whole_rows = inputs_.sums_whole_rows();
    product.is_last = b + 1 == num_blocks_;
    product.accumulate = b != 0 || begins_with_shifts();
    product.shifts = inputs_.format().is_asymmetric ? shifts : nullptr;
    product.row_sums = inputs_.format().is_asymmetric ? row_sums_.data() + p * kPanelRows : nullptr;
    ComingLines coming = coming_lines(p, b, tokens);
    product.coming = &coming;
    kernels_.integer_product(product);
  }

  // The block that this thread will read next, asked for meanwhile: processors that read ahead only a page at a time
  // (base/cpu.h) would first wait for one and then work on it. With few tokens the next block takes as long to come as
  // this one takes to be multiplied.
  ComingLines coming_lines(std::size_t p, std::size_t b, std::size_t tokens) const {
    constexpr std::size_t kTokensOfTile = 6, kStrips = 2;
    if (kernels_.read_ahead.packed == 0) return {};
    const std::size_t offset = p * panel_bytes_ + block_offset(b) + stored_bytes(depth_of(b));
    const std::size_t count = std::min(stored_bytes(kBlockDepth), bytes_.size() - offset) / 64;
    const std::size_t steps = round_up(tokens, kTokensOfTile) / kTokensOfTile * kStrips *
                              std::max<std::size_t>(1, depth_of(b) / inputs_.rounding().group);
    return {bytes_.as<std::uint8_t>(offset), count, (count + steps - 1) / steps};
  }

  IntegerForm form_;
  InputCodes inputs_;
  const KernelTable& kernels_;
  const TrellisKernels& trellis_kernels_;
  const LatticeKernels& lattice_kernels_;
  std::size_t num_blocks_, panel_bytes_;
  ResidentBytes bytes_, row_scales_;
  NestedScales nested_;          // of doubly quantized scales
  std::vector<float> row_sums_;  // [panels, 64], where activations have zero points
};

}  // namespace

std::unique_ptr<PackedWeights> pack_integer_panels(const QuantizedView& weights, const KernelOptions& options,
                                                   Machine& machine) {
  auto form = integer_form(*weights.format, weights.cols);
  if (form && kernel_table(machine.isa).signed_operands) sign_operands(*form);
  if (form && form->needs_tensor_grid && weights.tensor_grid == nullptr) return nullptr;
  return form && weights.cols != 0 ? std::make_unique<IntegerPanels>(weights, *form, options, machine) : nullptr;
}

}  // namespace nibble
