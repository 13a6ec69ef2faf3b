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
// following quads are laid into the higher bits.
void write_plane(const std::uint8_t* codes, std::size_t depth, int first_bit, int bits, std::size_t row, std::uint8_t* plane) {
  const std::size_t quads_per_line = 8 / static_cast<std::size_t>(bits);
  const std::uint32_t mask = ((1u << bits) - 1u) * 0x01010101u;
  std::uint8_t* out = plane + row * 4;
  for (std::size_t quad = 0; quad < depth / 4; quad += quads_per_line, out += 256) {
    std::uint32_t line = 0;
    for (std::size_t i = 0; i < quads_per_line; ++i) {
      std::uint32_t word;
      std::memcpy(&word, codes + 4 * (quad + i), 4);
      line |= ((word >> first_bit) & mask) << (i * static_cast<std::size_t>(bits));
    }
    std::memcpy(out, &line, 4);
  }
}

void write_number(std::uint8_t* array, std::size_t index, std::size_t bytes, std::uint32_t value) {
  std::memcpy(array + index * bytes, &value, bytes);
}

void write_row(const IntegerShape& s, const BlockCodes& in, std::size_t depth, std::size_t row, std::uint8_t* block) {
  write_plane(in.codes, depth, 0, s.low_bits, row, block);
  if (s.high_bits != 0) write_plane(in.codes, depth, s.low_bits, s.high_bits, row, block + low_plane_bytes(s, depth));
  for (std::size_t i = 0; i < s.super_scales; ++i) write_number(block + code_bytes(s, depth), i * 64 + row, 2, in.super[i]);
  for (std::size_t g = 0; g < num_groups(s, depth); ++g) {
    if (scale_bytes(s.scale) != 0) write_number(block + scales_offset(s, depth), g * 64 + row, scale_bytes(s.scale), in.scales[g]);
    if (s.scale == ScaleKind::six_bits) {
      std::uint8_t* const scales = block + scales_offset(s, depth) + row;
      scales[g / 2 * 64] = static_cast<std::uint8_t>(scales[g / 2 * 64] | (in.scales[g] & 15u) << (g % 2 * 4));
      scales[(8 + g / 4) * 64] = static_cast<std::uint8_t>(scales[(8 + g / 4) * 64] | (in.scales[g] >> 4) << (g % 4 * 2));
    }
    if (s.offset == OffsetKind::zero_packed) {
      const std::size_t bit = g * s.low_bits;
      std::uint8_t& byte = block[offsets_offset(s, depth) + bit / 8 * 64 + row];
      byte = static_cast<std::uint8_t>(byte | in.offsets[g] << (bit % 8));
    }
    if (offset_bytes(s.offset) != 0) write_number(block + offsets_offset(s, depth), g * 64 + row, offset_bytes(s.offset), in.offsets[g]);
  }
}

std::uint8_t read_code(const IntegerShape& s, const std::uint8_t* block, std::size_t depth, std::size_t row, std::size_t column) {
  const auto bits_at = [&](const std::uint8_t* plane, std::size_t bits) {
    const std::size_t per_line = 8 / bits, quad = column / 4;
    return (plane[quad / per_line * 256 + row * 4 + column % 4] >> (quad % per_line * bits)) & ((1u << bits) - 1u);
  };
  const unsigned high = s.high_bits != 0 ? bits_at(block + low_plane_bytes(s, depth), s.high_bits) << s.low_bits : 0u;
  return static_cast<std::uint8_t>(bits_at(block, s.low_bits) | high);
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

  static std::size_t bytes(std::size_t blocks, std::size_t tokens) { return round_up(blocks * tokens * (kBlockDepth + 8 + 8 * kMaxGroups), 64); }
  ActivationBuffers(std::byte* base, std::size_t blocks, std::size_t tokens) {
    const std::size_t n = blocks * tokens;
    codes = reinterpret_cast<std::int8_t*>(base);
    sums = reinterpret_cast<float*>(base + n * kBlockDepth);
    biases = reinterpret_cast<std::int32_t*>(sums + n * kMaxGroups);
    scales = reinterpret_cast<float*>(biases + n * kMaxGroups);
  }
  // Token `token` of block `block`, of `tokens` in all.
  QuantizedActivations at(std::size_t index) const {
    return {codes + index * kBlockDepth, scales + index * 2, biases + index * kMaxGroups, sums + index * kMaxGroups};
  }
};

// What one thread decodes a block into.
struct PanelBuffers {
  std::uint8_t* operands;
  float *scales, *offsets, *tile;

  static constexpr std::size_t kOperandBytes = kBlockDepth * 64, kGridFloats = kMaxGroups * 64, kTileFloats = kTokenBlock * 64;
  static constexpr std::size_t kBytes = kOperandBytes + (2 * kGridFloats + kTileFloats) * sizeof(float);
  explicit PanelBuffers(std::byte* base) {
    operands = reinterpret_cast<std::uint8_t*>(base);
    scales = reinterpret_cast<float*>(base + kOperandBytes);
    offsets = scales + kGridFloats;
    tile = offsets + kGridFloats;
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
    pool.parallel_for(num_panels(rows_), 1, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t p = begin; p < end; ++p) pack_panel(w, p);
    });
    form_.format = nullptr;  // only packing needed it
  }

  std::uint64_t resident_bytes() const noexcept override { return bytes_.size() + row_scales_.size(); }

  void multiply(const float* x, std::size_t tokens, float* y, ThreadPool& pool, KernelScratch& scratch) const override {
    const std::size_t activation_bytes = ActivationBuffers::bytes(num_blocks_, tokens);
    std::byte* const base = scratch.reserve(activation_bytes + pool.num_threads() * PanelBuffers::kBytes);
    const ActivationBuffers activations(base, num_blocks_, tokens);
    pool.parallel_for(tokens, std::max<std::size_t>(1, 8192 / (num_blocks_ * kBlockDepth)), [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t t = begin; t < end; ++t) quantize_token(x + t * cols_, t, tokens, activations);
    });
    pool.parallel_for(num_panels(rows_), panel_grain(cols_, tokens), [&](std::size_t begin, std::size_t end, std::size_t worker) {
      const PanelBuffers buffers(base + activation_bytes + worker * PanelBuffers::kBytes);
      for (std::size_t p = begin; p < end; ++p) {
        const PanelOutput out(y, rows_, p, tokens, buffers.tile);
        if (tokens == 1 && kernels_.integer_vector != nullptr) {
          kernels_.integer_vector(form_.shape, block_at(p, 0), panel_row_scales(p), padded_cols(), activations.at(0), out.data(0));
          out.finish(0, 1);
          continue;
        }
        for (std::size_t t = 0; t < tokens; t += kTokenBlock) {
          const std::size_t n = std::min(kTokenBlock, tokens - t);
          for (std::size_t b = 0; b < num_blocks_; ++b) multiply_block(p, b, activations.at(b * tokens + t), n, out.data(t), out.stride(), buffers);
          out.finish(t, n);
        }
      }
    });
  }

  void decode_row(std::uint64_t row, float* out) const override {
    const std::size_t p = static_cast<std::size_t>(row / kPanelRows), r = static_cast<std::size_t>(row % kPanelRows);
    IntegerShape shape = form_.shape;
    if (shape.has_table) shape.factor = 1;  // the exact points, not their integers
    alignas(64) float scales[kMaxGroups * 64], offsets[kMaxGroups * 64];
    for (std::size_t b = 0; b < num_blocks_; ++b) {
      const std::size_t depth = depth_of(b), columns = std::min(kBlockDepth, static_cast<std::size_t>(cols_) - b * kBlockDepth);
      const std::uint8_t* const block = block_at(p, b);
      kernels_.expand_grid(shape, block, panel_row_scales(p), depth, scales, offsets);
      for (std::size_t c = 0; c < columns; ++c) {
        const std::size_t g = c / kernel_group(shape) * 64 + r;
        const std::uint8_t code = read_code(shape, block, depth, r, c);
        out[b * kBlockDepth + c] = value_of(shape, block, depth, r, c, code, scales[g], offsets[g]);
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
                                    activations.sums + index * kMaxGroups);
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
    kernels_.expand_grid(shape, block, panel_row_scales(p), depth, buffers.scales, buffers.offsets);
    product.scales = buffers.scales;
    product.offsets = shape.offset == OffsetKind::none ? nullptr : buffers.offsets;
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
