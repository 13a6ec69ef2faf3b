// SPDX-License-Identifier: Apache-2.0
//
// Quantized weights multiplied as integers: repacked once into panels (integer_shape.h); for every product, activations become int8,
// and each block is decoded to 8-bit operands in the nearest cache, to be multiplied with all tokens.
#include <bit>
#include <cassert>

#include "base/half.h"
#include "kernels/f32_panels.h"
#include "kernels/integer_form.h"
#include "kernels/packed_weights.h"
#include "kernels/resident_bytes.h"
#include "kernels/select.h"

namespace nibble {
namespace {

std::size_t round_up(std::size_t n, std::size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// --- packing -------------------------------------------------------------------------------------------------------------------------

// One row's bits [first_bit, first_bit + bits) of each code into a plane. Four columns of a row are one 32-bit word; words of the
// following quads are laid into the higher bits, quad i of a line at bit positions[i].
void write_plane(const std::uint8_t* codes, std::size_t depth, int first_bit, std::size_t bits, const std::size_t* positions, std::size_t row,
                 std::uint8_t* plane) {
  const std::size_t quads_per_line = 8 / bits;
  const std::uint32_t mask = ((1u << bits) - 1u) * 0x01010101u;
  std::uint8_t* out = plane + row * 4;
  for (std::size_t quad = 0; quad < depth / 4; quad += quads_per_line, out += 256) {
    std::uint32_t line = 0;
    for (std::size_t i = 0; i < quads_per_line; ++i) {
      std::uint32_t word;
      std::memcpy(&word, codes + 4 * (quad + i), 4);
      line |= ((word >> first_bit) & mask) << positions[i];
    }
    std::memcpy(out, &line, 4);
  }
}

void write_number(std::uint8_t* array, std::size_t index, std::size_t bytes, std::uint32_t value) {
  std::memcpy(array + index * bytes, &value, bytes);
}

void write_codes(const IntegerShape& s, const std::uint8_t* codes, std::size_t depth, std::size_t row, std::uint8_t* block) {
  std::size_t low[8], high[8];
  for (std::size_t i = 0; i < 8; ++i) {
    low[i] = i * s.low_bits;
    high[i] = high_bit(s, i);
  }
  write_plane(codes, depth, 0, s.low_bits, low, row, block);
  if (s.high_bits != 0) write_plane(codes, depth, s.low_bits, s.high_bits, high, row, block + low_plane_bytes(s, depth));
}

// Multiples of one row in planes of `bits` bits, groups in place of columns.
void write_multiples(const std::uint32_t* values, std::size_t groups, int first_bit, std::size_t bits, std::size_t row, std::uint8_t* plane) {
  std::uint8_t codes[kBlockDepth] = {};  // whole lines
  for (std::size_t g = 0; g < groups; ++g) codes[g] = static_cast<std::uint8_t>(values[g]);
  const std::size_t positions[8] = {0, bits, 2 * bits, 3 * bits};
  write_plane(codes, group_plane_bytes(bits, groups) / 256 * (8 / bits) * 4, first_bit, bits, positions, row, plane);
}

void write_scales(const IntegerShape& s, const BlockCodes& in, std::size_t groups, std::size_t row, std::uint8_t* scales) {
  if (has_multiples(s)) {
    const std::size_t bits = s.scale == ScaleKind::signed6 || s.scale == ScaleKind::unsigned4 ? 4 : 8;
    write_multiples(in.scales, groups, 0, bits, row, scales);
    if (s.scale == ScaleKind::signed6) write_multiples(in.scales, groups, 4, 2, row, scales + group_plane_bytes(4, groups));
    return;
  }
  if (scale_bytes(s.scale) == 0) return;
  for (std::size_t g = 0; g < groups; ++g) write_number(scales, g * 64 + row, scale_bytes(s.scale), in.scales[g]);
}

void write_offsets(const IntegerShape& s, const BlockCodes& in, std::size_t groups, std::size_t row, std::uint8_t* offsets) {
  if (has_minima(s)) return write_multiples(in.offsets, groups, 0, s.offset == OffsetKind::minus_unsigned4 ? 4 : 8, row, offsets);
  for (std::size_t g = 0; g < groups; ++g) {
    if (s.offset == OffsetKind::zero_packed) {
      const std::size_t bit = g * s.low_bits;
      std::uint8_t& byte = offsets[bit / 8 * 64 + row];
      byte = static_cast<std::uint8_t>(byte | in.offsets[g] << (bit % 8));
    }
    if (offset_bytes(s.offset) != 0) write_number(offsets, g * 64 + row, offset_bytes(s.offset), in.offsets[g]);
  }
}

void write_row(const IntegerShape& s, const BlockCodes& in, std::size_t depth, std::size_t row, std::uint8_t* block) {
  write_codes(s, in.codes, depth, row, block);
  for (std::size_t i = 0; i < s.super_scales; ++i) write_number(block + code_bytes(s, depth), i * 64 + row, 2, in.super[i]);
  write_scales(s, in, num_groups(s, depth), row, block + scales_offset(s, depth));
  write_offsets(s, in, num_groups(s, depth), row, block + offsets_offset(s, depth));
}

std::uint8_t read_code(const IntegerShape& s, const std::uint8_t* block, std::size_t depth, std::size_t row, std::size_t column) {
  const std::size_t quad = column / 4;
  const auto line_byte = [&](const std::uint8_t* plane, std::size_t bits) { return plane[quad / (8 / bits) * 256 + row * 4 + column % 4]; };
  const unsigned low = static_cast<unsigned>(line_byte(block, s.low_bits)) >> (quad % (8u / s.low_bits) * s.low_bits) & ((1u << s.low_bits) - 1u);
  if (s.high_bits == 0) return static_cast<std::uint8_t>(low);
  const unsigned byte = line_byte(block + low_plane_bytes(s, depth), s.high_bits);
  return static_cast<std::uint8_t>(low | (byte >> high_bit(s, quad % (8u / s.high_bits)) & ((1u << s.high_bits) - 1u)) << s.low_bits);
}

// The zero point in terms of operands.
int zero_of(const IntegerShape& s, const std::uint8_t* offsets, std::size_t group, std::size_t row) {
  if (s.offset == OffsetKind::zero8) return offsets[group * 64 + row];
  const std::size_t bit = group * s.low_bits;
  const int stored = (offsets[bit / 8 * 64 + row] >> (bit % 8)) & ((1 << s.low_bits) - 1);
  return s.low_bits == 1 ? 2 * stored : stored;
}

// --- products ------------------------------------------------------------------------------------------------------------------------

// Activations of a call, in the caller's scratch: for each block of columns, all tokens.
struct ActivationBuffers {
  std::int8_t* codes;
  float *scales, *sums;
  std::int32_t* biases;
  std::int8_t* sum_codes;

  static std::size_t bytes(std::size_t blocks, std::size_t tokens) {
    return round_up(blocks * tokens * (kBlockDepth + 8 + 8 * kMaxGroups + kSumCodes), 64);
  }
  ActivationBuffers(std::byte* base, std::size_t blocks, std::size_t tokens) {
    const std::size_t n = blocks * tokens;
    codes = reinterpret_cast<std::int8_t*>(base);
    sums = reinterpret_cast<float*>(base + n * kBlockDepth);
    biases = reinterpret_cast<std::int32_t*>(sums + n * kMaxGroups);
    scales = reinterpret_cast<float*>(biases + n * kMaxGroups);
    sum_codes = reinterpret_cast<std::int8_t*>(scales + n * 2);
  }
  // Token `token` of block `block`, of `tokens` in all.
  QuantizedActivations at(std::size_t index) const {
    return {codes + index * kBlockDepth, scales + index * 2, biases + index * kMaxGroups, sums + index * kMaxGroups, sum_codes + index * kSumCodes};
  }
};

// What one thread decodes a block into.
struct PanelBuffers {
  std::uint8_t* operands;
  ExpandedGrid grid;
  float* tile;

  static constexpr std::size_t kOperandBytes = kBlockDepth * 64, kGridFloats = kMaxGroups * 64, kTileFloats = kTokenBlock * 64;
  static constexpr std::size_t kMultipleBytes = 2 * kMaxGroups * 64;
  static constexpr std::size_t kBytes = kOperandBytes + kMultipleBytes + (2 * kGridFloats + 128 + kTileFloats) * sizeof(float);
  explicit PanelBuffers(std::byte* base) {
    operands = reinterpret_cast<std::uint8_t*>(base);
    grid.bytes = operands + kOperandBytes;
    grid.scales = reinterpret_cast<float*>(grid.bytes + kMultipleBytes);
    grid.offsets = grid.scales + kGridFloats;
    grid.super = grid.offsets + kGridFloats;
    grid.minima = nullptr;
    tile = grid.super + 128;
  }
};

class IntegerPanels final : public PackedWeights {
 public:
  IntegerPanels(const QuantizedView& w, const IntegerForm& form, Isa isa, ThreadPool& pool)
      : PackedWeights(w.rows, w.cols, std::string(isa_name(isa)) + "/int8 " + layout_name(form.shape) + " from " + w.format->name()),
        form_(form),
        kernels_(kernel_table(isa)),
        num_blocks_((static_cast<std::size_t>(w.cols) + kBlockDepth - 1) / kBlockDepth),
        panel_bytes_(num_blocks_ == 0 ? 0 : block_offset(num_blocks_ - 1) + block_bytes(form.shape, depth_of(num_blocks_ - 1))),
        bytes_(num_panels(w.rows) * panel_bytes_),
        row_scales_(has_row_scales(form.shape) ? num_panels(w.rows) * kPanelRows * sizeof(float) : 0) {
    for_each_panel(pool, num_panels(rows_), [&](std::size_t p, std::size_t) { pack_panel(w, p); });
    form_.format = nullptr;  // only packing needed it
  }

  std::uint64_t resident_bytes() const noexcept override { return bytes_.size() + row_scales_.size(); }

  // What quantize_activations depends on, above the numbers of other preparations.
  std::uint64_t preparation() const noexcept override {
    return std::uint64_t{1} << 32 | kernel_group(form_.shape) << 16 | static_cast<std::uint64_t>(form_.shape.middle);
  }
  std::size_t shared_bytes(std::size_t tokens) const noexcept override { return ActivationBuffers::bytes(num_blocks_, tokens); }
  std::size_t worker_bytes() const noexcept override { return PanelBuffers::kBytes; }

  void prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const override {
    const ActivationBuffers activations(shared, num_blocks_, tokens);
    pool.parallel_for(tokens, std::max<std::size_t>(1, 8192 / (num_blocks_ * kBlockDepth)), [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t t = begin; t < end; ++t) quantize_token(x + t * cols_, t, tokens, activations);
    });
  }

  void multiply_panel(std::size_t p, const float*, std::size_t tokens, float* y, std::byte* shared, std::byte* worker) const override {
    const ActivationBuffers activations(shared, num_blocks_, tokens);
    const PanelBuffers buffers(worker);
    const PanelOutput out(y, rows_, p, tokens, buffers.tile);
    if (tokens == 1 && kernels_.integer_vector != nullptr) {
      kernels_.integer_vector(form_.shape, block_at(p, 0), panel_row_scales(p), padded_cols(), activations.at(0), out.data(0));
      return out.finish(0, 1);
    }
    for (std::size_t t = 0; t < tokens; t += kTokenBlock) {
      const std::size_t n = std::min(kTokenBlock, tokens - t);
      for (std::size_t b = 0; b < num_blocks_; ++b) multiply_block(p, b, activations.at(b * tokens + t), n, out.data(t), out.stride(), buffers);
      out.finish(t, n);
    }
  }

  void decode_row(std::uint64_t row, float* out) const override {
    const std::size_t p = static_cast<std::size_t>(row / kPanelRows), r = static_cast<std::size_t>(row % kPanelRows);
    IntegerShape shape = form_.shape;
    if (shape.has_table) shape.factor = 1;  // the exact points, not their integers
    alignas(64) float scales[kMaxGroups * 64], offsets[kMaxGroups * 64], super[128];
    alignas(64) std::uint8_t bytes[PanelBuffers::kMultipleBytes];
    for (std::size_t b = 0; b < num_blocks_; ++b) {
      const std::size_t depth = depth_of(b), columns = std::min(kBlockDepth, static_cast<std::size_t>(cols_) - b * kBlockDepth);
      const std::uint8_t* const block = block_at(p, b);
      ExpandedGrid grid{scales, offsets, super, bytes, nullptr};
      kernels_.expand_grid(shape, block, panel_row_scales(p), depth, grid);
      for (std::size_t c = 0; c < columns; ++c) {
        const std::size_t group = c / kernel_group(shape), g = group * 64 + r;
        const std::uint8_t code = read_code(shape, block, depth, r, c);
        const float scale = has_multiples(shape) ? scales[g] * super[r] : scales[g];
        const float offset = grid.minima != nullptr ? super[64 + r] * static_cast<float>(grid.minima[group / 4 * 256 + r * 4 + group % 4]) : offsets[g];
        out[b * kBlockDepth + c] = value_of(shape, block, depth, r, c, code, scale, offset);
      }
    }
  }

 private:
  static std::string layout_name(const IntegerShape& s) {
    std::string name = std::to_string(s.low_bits);
    if (s.high_bits != 0) name.append("+").append(std::to_string(s.high_bits));
    return name.append(s.has_table ? "-bit table" : "-bit");
  }

  float value_of(const IntegerShape& shape, const std::uint8_t* block, std::size_t depth, std::size_t r, std::size_t c, std::uint8_t code,
                 float scale, float offset) const {
    if (shape.has_table) return scale * form_.table[code];
    const int operand = shape.low_bits == 1 ? 2 * code : code;
    if (shape.offset == OffsetKind::zero8 || shape.offset == OffsetKind::zero_packed)
      return scale * static_cast<float>(operand - zero_of(shape, block + offsets_offset(shape, depth), c / shape.group, r));
    const float product = scale * static_cast<float>(operand - shape.middle);
    return shape.offset == OffsetKind::none ? product : product + offset;
  }

  std::size_t padded_cols() const { return round_up(static_cast<std::size_t>(cols_), kDepthUnit); }
  std::size_t block_offset(std::size_t b) const { return b * block_bytes(form_.shape, kBlockDepth); }
  std::size_t depth_of(std::size_t b) const { return std::min(kBlockDepth, round_up(static_cast<std::size_t>(cols_) - b * kBlockDepth, kDepthUnit)); }
  std::uint8_t* block_at(std::size_t p, std::size_t b) const { return bytes_.as<std::uint8_t>(p * panel_bytes_ + block_offset(b)); }
  float* panel_row_scales(std::size_t p) const { return row_scales_.size() == 0 ? nullptr : row_scales_.as<float>() + p * kPanelRows; }

  void pack_panel(const QuantizedView& w, std::size_t p) const {
    const std::size_t count = std::min<std::size_t>(kPanelRows, static_cast<std::size_t>(rows_) - p * kPanelRows);
    for (std::size_t r = 0; r < count; ++r) {
      const ConstRowPlanes row = w.row(p * kPanelRows + r);
      BlockCodes codes = {};
      for (std::size_t b = 0; b < num_blocks_; ++b) {
        const std::size_t columns = std::min(kBlockDepth, static_cast<std::size_t>(cols_) - b * kBlockDepth);
        form_.read(form_, row, b, columns, codes);
        write_row(form_.shape, codes, depth_of(b), r, block_at(p, b));
      }
      if (has_row_scales(form_.shape)) panel_row_scales(p)[r] = codes.row_scale;
    }
  }

  void quantize_token(const float* x, std::size_t token, std::size_t tokens, const ActivationBuffers& activations) const {
    for (std::size_t b = 0; b < num_blocks_; ++b) {
      const std::size_t index = b * tokens + token, columns = std::min(kBlockDepth, static_cast<std::size_t>(cols_) - b * kBlockDepth);
      kernels_.quantize_activations(x + b * kBlockDepth, columns, kernel_group(form_.shape), form_.shape.middle,
                                    activations.codes + index * kBlockDepth, activations.scales + index * 2, activations.biases + index * kMaxGroups,
                                    activations.sums + index * kMaxGroups, activations.sum_codes + index * kSumCodes);
    }
  }

  void multiply_block(std::size_t p, std::size_t b, const QuantizedActivations& x, std::size_t tokens, float* y, std::size_t y_stride,
                      const PanelBuffers& buffers) const {
    const IntegerShape& shape = form_.shape;
    const std::uint8_t* const block = block_at(p, b);
    const std::size_t depth = depth_of(b);
    IntegerProduct product{};
    product.panel = block;
    if (shape.low_bits != 8) {
      kernels_.unpack_codes(shape, block, depth, buffers.operands);
      product.panel = buffers.operands;
    }
    product.grid = buffers.grid;
    kernels_.expand_grid(shape, block, panel_row_scales(p), depth, product.grid);
    if (shape.offset == OffsetKind::none || has_minima(shape)) product.grid.offsets = nullptr;
    if (!has_multiples(shape)) product.grid.super = nullptr;
    product.depth = depth;
    product.group = kernel_group(shape);
    product.x = x;
    product.tokens = tokens;
    product.y = y;
    product.y_stride = y_stride;
    product.accumulate = b != 0;
    kernels_.integer_product(product);
  }

  IntegerForm form_;
  const KernelTable& kernels_;
  std::size_t num_blocks_, panel_bytes_;
  ResidentBytes bytes_, row_scales_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_integer_panels(const QuantizedView& weights, const KernelOptions& options, ThreadPool& pool) {
  const auto form = integer_form(*weights.format, weights.cols);
  return form && weights.cols != 0 ? std::make_unique<IntegerPanels>(weights, *form, options.isa, pool) : nullptr;
}

}  // namespace nibble
