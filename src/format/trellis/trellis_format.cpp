// SPDX-License-Identifier: Apache-2.0
#include "format/trellis/trellis_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "format/bit_pack.h"
#include "format/block_format.h"
#include "format/family/row_scale.h"
#include "format/row_tiles.h"
#include "format/trainable_grid.h"
#include "format/trellis/path_search.h"
#include "format/trellis/state_values.h"
#include "nibble/error.h"
#include "tensor/tensor.h"

namespace nibble {
namespace {

constexpr std::string_view kPrefix = "trellis";
constexpr std::array<unsigned, 3> kStateBits = {8, 12, 16};
constexpr unsigned kMaxCodeBits = 6;
// Of a row's deviation, in deviations of the states' values: by 1 .. 6 code bits, measured on normal numbers.
constexpr std::array<float, kMaxCodeBits> kReach = {0.95F, 1.05F, 1.12F, 1.15F, 1.15F, 1.15F};

FormatInfo make_info(const TrellisShape& shape) {
  FormatInfo info;
  info.name = fmt::format("{}{}:l{}", kPrefix, shape.code_bits, shape.state_bits);
  info.description = fmt::format("{} bits in a trellis of 2^{} states, 64 rows x 4 columns together", shape.code_bits,
                                 shape.state_bits);
  info.kind = FormatKind::planar;
  info.bits_per_weight = shape.code_bits;
  info.unit = kTrellisCols;
  info.span = 0;
  info.row_multiple = kTrellisCols;
  info.row_unit = kTrellisRows;
  return info;
}

class TrellisFormat final : public Format, public RowTiles, public TrainableGrid {
 public:
  TrellisFormat(const TrellisShape& shape, const PathSteps& steps)
      : Format(make_info(shape)), shape_(shape), steps_(steps) {
    double squares = 0;
    for (const std::int8_t value : trellis_values(shape)) {
      values_.push_back(value);
      squares += static_cast<double>(value) * value;
    }
    deviation_ = static_cast<float>(std::sqrt(squares / static_cast<double>(values_.size())));
  }

  const TrellisShape& shape() const noexcept { return shape_; }

  std::vector<PlaneSpec> planes(std::uint64_t rows, std::uint64_t cols) const override {
    if (cols % kTrellisCols != 0) throw_row_not_multiple(info_, cols);
    checked_elements({rows + kTrellisRows, cols, 64}, info_.name);
    const std::uint64_t units = (rows + kTrellisRows - 1) / kTrellisRows, row_bytes = cols * 8 * shape_.code_bits;
    return {{"codes", DType::u8, {units, row_bytes}, row_bytes, units * row_bytes, kTrellisRows},
            {"scales", DType::f16, {rows}, 2, 2 * rows}};
  }

  std::size_t grid_bytes() const override { return sizeof(RowScale); }

  void fit(std::span<const float> x, std::span<const float> importance, const TensorGrid*, std::uint64_t,
           const FitOptions&, std::byte* grid, std::size_t) const override {
    write_row_scale(fit_row_scale(x, importance, kReach[shape_.code_bits - 1], deviation_), grid);
  }

  Code nearest(const std::byte*, std::size_t, const float*, const float*) const override { throw_single(); }
  void value(const std::byte*, std::size_t, Code, float*) const override { throw_single(); }
  void pack(const std::byte*, const Code*, std::size_t, std::size_t, const RowPlanes&) const override {
    throw_single();
  }
  void encode_row(std::span<const float>, std::span<const float>, const TensorGrid*, std::uint64_t, const FitOptions&,
                  const RowPlanes&) const override {
    throw_single();
  }
  std::uint64_t num_codes() const override { return std::uint64_t{1} << (kTrellisCols * shape_.code_bits); }

  // The bits of the row's own symbols.
  void unpack(const ConstRowPlanes& row, std::size_t, std::size_t columns, const TensorGrid*, std::uint64_t row_index,
              std::byte* grid, Code* codes) const override {
    write_row_scale({scale_of(row)}, grid);
    const std::size_t place = row_index % kTrellisRows * kTrellisCols * shape_.code_bits;
    for (std::size_t tile = 0; tile < columns / kTrellisCols; ++tile) {
      std::uint8_t symbols[kTrellisCols];
      unpack_bits(row[0] + tile * tile_bytes(shape_), place, kTrellisCols, shape_.code_bits, symbols);
      codes[tile] = 0;
      for (std::size_t i = 0; i < kTrellisCols; ++i) codes[tile] |= Code{symbols[i]} << (i * shape_.code_bits);
    }
  }

  void decode_row(const ConstRowPlanes& row, const TensorGrid*, std::uint64_t row_index,
                  std::span<float> out) const override {
    const float scale = scale_of(row);
    for (std::size_t col = 0; col < out.size(); ++col) out[col] = scale * values_[state_at(row, row_index, col)];
  }

  void column_codes(const ConstRowPlanes& row, std::uint64_t row_index, std::span<Code> out) const override {
    for (std::size_t col = 0; col < out.size(); ++col) out[col] = state_at(row, row_index, col);
  }

  std::optional<std::string> find_defect(const ConstRowPlanes& row, std::uint64_t) const override {
    if (std::isfinite(scale_of(row))) return std::nullopt;
    return "its scale is not finite";
  }

  std::unique_ptr<TileCoder> make_coder() const override;

  void pack(const std::byte* grids, std::size_t stride, std::size_t rows, const Code* codes, std::size_t code_stride,
            std::size_t cols, const RowPlanes& planes) const override {
    for (std::size_t row = 0; row < rows; ++row)
      store_row_scale(read_row_scale(grids + row * stride).scale, planes[1] + 2 * row);
    for (std::size_t tile = 0; tile < cols / kTrellisCols; ++tile)
      for (std::size_t row = 0; row < kTrellisRows; ++row) {
        std::uint8_t symbols[kTrellisCols];
        for (std::size_t i = 0; i < kTrellisCols; ++i)
          symbols[i] = static_cast<std::uint8_t>(codes[row * code_stride + tile] >> (i * shape_.code_bits) &
                                                 ((1u << shape_.code_bits) - 1));
        pack_bits(symbols, kTrellisCols, shape_.code_bits, row * kTrellisCols * shape_.code_bits,
                  planes[0] + tile * tile_bytes(shape_));
      }
  }

  std::size_t num_parameters() const override { return 1; }
  void parameters(const std::byte* grid, float* out) const override { *out = read_row_scale(grid).scale; }
  void store(const float* parameters, std::byte* grid) const override {
    write_row_scale({f16_to_f32(to_f16_saturated(*parameters))}, grid);
  }
  void values(const std::byte*, const float* parameters, const Code* states, std::size_t columns,
              float* out) const override {
    for (std::size_t i = 0; i < columns; ++i) out[i] = *parameters * values_[states[i]];
  }
  void slopes(const std::byte*, const float*, const Code* states, std::size_t columns, float* out) const override {
    for (std::size_t i = 0; i < columns; ++i) out[i] = values_[states[i]];
  }

 private:
  [[noreturn]] void throw_single() const {
    throw Error(ErrorKind::unsupported,
                fmt::format("{} codes {} rows together, and is asked for one", info_.name, kTrellisRows));
  }

  // row: as decode_row has it.
  std::uint32_t state_at(const ConstRowPlanes& row, std::uint64_t row_index, std::size_t col) const {
    const std::size_t symbol = row_index % kTrellisRows * kTrellisCols + col % kTrellisCols;
    return tile_window(shape_, row[0] + col / kTrellisCols * tile_bytes(shape_), symbol * shape_.code_bits);
  }

  static float scale_of(const ConstRowPlanes& row) { return stored_row_scale(row[1]); }

  friend class Coder;

  TrellisShape shape_;
  const PathSteps& steps_;
  std::vector<float> values_;
  float deviation_ = 1;
};

class Coder final : public TileCoder {
 public:
  explicit Coder(const TrellisFormat& format)
      : format_(format), search_(format.shape_, format.values_, format.steps_) {}

  void nearest(const std::byte* grids, std::size_t stride, std::size_t rows, const float* targets, const float* metric,
               Code* codes, float* stored) override {
    const unsigned code_bits = format_.shape_.code_bits;
    float y[kTrellisTile] = {}, weights[kTrellisTile] = {}, scales[kTrellisRows] = {};
    for (std::size_t row = 0; row < rows; ++row) {
      scales[row] = read_row_scale(grids + row * stride).scale;
      if (!(scales[row] > 0)) continue;
      for (std::size_t i = 0; i < kTrellisCols; ++i) {
        const float weight = metric == nullptr ? 1.0F : metric[i * kTrellisCols + i];
        y[row * kTrellisCols + i] = targets[row * kTrellisCols + i] / scales[row];
        weights[row * kTrellisCols + i] = weight * scales[row] * scales[row];
      }
    }
    std::uint8_t symbols[kTrellisTile];
    search_.run(y, weights, symbols);
    std::byte tile[kTrellisTile * kMaxCodeBits / 8];
    pack_bits(symbols, kTrellisTile, code_bits, 0, tile);
    for (std::size_t row = 0; row < kTrellisRows; ++row) {
      codes[row] = 0;
      for (std::size_t i = 0; i < kTrellisCols; ++i) {
        const std::size_t at = row * kTrellisCols + i;
        codes[row] |= Code{symbols[at]} << (i * code_bits);
        if (row < rows) stored[at] = scales[row] * format_.values_[tile_window(format_.shape_, tile, at * code_bits)];
      }
    }
  }

 private:
  const TrellisFormat& format_;
  PathSearch search_;
};

std::unique_ptr<TileCoder> TrellisFormat::make_coder() const { return std::make_unique<Coder>(*this); }

unsigned read_number(std::string_view text) {
  unsigned number = 0;
  if (text.empty() || text.size() > 2) return 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return 0;
    number = 10 * number + static_cast<unsigned>(c - '0');
  }
  return number;
}

}  // namespace

FormatPtr make_trellis_format(std::string_view spelling) {
  if (!spelling.starts_with(kPrefix)) return nullptr;
  std::string_view rest = spelling.substr(kPrefix.size());
  std::size_t colon = rest.find(':');
  TrellisShape shape;
  shape.code_bits = read_number(rest.substr(0, colon));
  if (shape.code_bits < 1 || shape.code_bits > kMaxCodeBits)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("trellises are {0}1 .. {0}{1}: {2}", kPrefix, kMaxCodeBits, spelling));
  bool has_states = false;
  while (colon != std::string_view::npos) {
    rest.remove_prefix(colon + 1);
    colon = rest.find(':');
    const std::string_view option = rest.substr(0, colon);
    const unsigned state_bits = option.starts_with('l') ? read_number(option.substr(1)) : 0;
    if (std::ranges::find(kStateBits, state_bits) == kStateBits.end())
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("a trellis has no option '{}'; it takes one of l8 (a table of 256 values), l12 and l16 "
                              "(values computed), and scales lie by rows: {}",
                              option, spelling));
    if (has_states)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("a trellis has one number of states; '{}' is another: {}", option, spelling));
    shape.state_bits = state_bits;
    has_states = true;
  }
  return make_trellis_format(shape, plain_path_steps());
}

FormatPtr make_trellis_format(const TrellisShape& shape, const PathSteps& steps) {
  return std::make_shared<TrellisFormat>(shape, steps);
}

const TrellisShape* trellis_shape(const Format& format) {
  const auto* const trellis = dynamic_cast<const TrellisFormat*>(&format);
  return trellis == nullptr ? nullptr : &trellis->shape();
}

}  // namespace nibble
