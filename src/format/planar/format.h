// SPDX-License-Identifier: Apache-2.0
//
// Planar formats: codes, scales, zero points and tables in tensors of their own, described at run time by a PlanarSpec.
//
// Planes of a [rows, cols] tensor with G groups a row (1 where the grain is the row):
//   codes      U8 [rows, ceil(cols * bits / 8)]   least-significant bit first along the inputs, rows padded to bytes
//   scales     F32, F16, BF16 or F8_E8M0 [rows, G], or [1] for the grain tensor; for s6 and s8: U8 [rows, ceil(G * 6 /
//   8)] or [rows, G] zeros      U8 [rows, ceil(G * bits / 8)], packed like codes, or [1]; asymmetric integers only
//   biases     as the scales; integers with a bias only, which have no zeros
//   table      F16, BF16 or F32 [rows, G, 2^bits]; learned tables only, which have no scales
//   base       F32 [rows]; s6 and s8 only: a group's scale is base * its scale code
//   nested     F32 [ceil(rows * G / 256)], offset F32 [1]; dq only: groups are numbered across the whole tensor, and
//   the scale of group
//              i is dynamic_map[scales[i]] * nested[i / 256] + offset, as bitsandbytes stores doubly quantized scales
//
// Where the grain is a block, scales, zeros and biases have a row for every block_rows rows of the tensor.
//
// Integer codes are stored unsigned: for symmetric formats 2^(bits-1) (ternary and int2:high: 1) stands for 0, for
// asymmetric ones the stored zero point does. x = scale * (code - zero), with a bias x = scale * code + bias, each
// operation rounded to f32. Half integers: x = scale * (code - (2^bits - 1) / 2). binary: x = scale * (2 code - 1).
// Floats: the code is the number's bit pattern.
#pragma once

#include "format/format.h"
#include "format/planar/fit.h"
#include "format/planar/spec.h"
#include "format/trainable_grid.h"

namespace nibble {

class PointTable;

class PlanarFormat final : public Format, public LoopedFormat, public TrainableGrid {
 public:
  explicit PlanarFormat(const PlanarSpec& spec, const SpanLoops& loops = plain_span_loops());

  FormatPtr with_loops(const SpanLoops& loops) const override { return std::make_shared<PlanarFormat>(spec_, loops); }

  const PlanarSpec& spec() const noexcept { return spec_; }
  // Null unless the points are a fixed table (NF4, FP4, the floats).
  const PointTable* fixed_table() const noexcept { return fixed_table_; }
  // What an integer's code or zero point is called: int4 numbers them from -8, uint4 from 0. x = scale * (q - zero) in
  // either.
  std::int32_t first_integer() const noexcept;
  std::uint64_t groups(std::uint64_t cols) const noexcept;

  std::vector<PlaneSpec> planes(std::uint64_t rows, std::uint64_t cols) const override;
  std::uint64_t cut_multiple(std::uint64_t cols) const override;
  std::size_t grid_bytes() const override { return sizeof(PlanarGrid) + sizeof(float) * num_table_points(); }
  std::unique_ptr<TensorGrid> prepare(std::span<const float> weights, std::uint64_t rows, std::uint64_t cols,
                                      std::span<const float> importance, const FitOptions& options) const override;
  bool needs_prepare() const override { return has_shared_grids() || is_two_level() || is_double(); }
  void pack_tensor(const TensorGrid* tensor_grid, const RowPlanes& planes) const override;
  std::unique_ptr<TensorGrid> unpack_tensor(const ConstRowPlanes& planes, std::uint64_t rows,
                                            std::uint64_t cols) const override;
  void fit(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
           std::uint64_t row, const FitOptions& options, std::byte* grid, std::size_t span_index) const override;
  Code nearest(const std::byte* grid, std::size_t column, const float* target, const float* metric) const override;
  void value(const std::byte* grid, std::size_t column, Code code, float* out) const override;
  std::vector<GridPart> grid_parts(const std::byte* grid, std::size_t column) const override;
  // A scale, and the zero point or the bias beside it; or the points of a table.
  std::size_t num_parameters() const override {
    return has_table() ? num_table_points() : spec_.is_asymmetric || spec_.has_bias ? 2 : 1;
  }
  void parameters(const std::byte* grid, float* out) const override;
  void store(const float* parameters, std::byte* grid) const override;
  void values(const std::byte* grid, const float* parameters, const Code* codes, std::size_t columns,
              float* out) const override;
  void slopes(const std::byte* grid, const float* parameters, const Code* codes, std::size_t columns,
              float* out) const override;
  std::uint64_t num_codes() const override {
    return spec_.points == PlanarPoints::ternary ? 3 : std::uint64_t{1} << spec_.bits;
  }
  void pack(const std::byte* grid, const Code* codes, std::size_t span_index, std::size_t columns,
            const RowPlanes& row) const override;
  void unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns, const TensorGrid* tensor_grid,
              std::uint64_t row_index, std::byte* grid, Code* codes) const override;
  void encode_row(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                  std::uint64_t row_index, const FitOptions& options, const RowPlanes& row) const override;
  void decode_row(const ConstRowPlanes& row, const TensorGrid* tensor_grid, std::uint64_t row_index,
                  std::span<float> out) const override;
  std::optional<std::string> find_defect(const ConstRowPlanes& row, std::uint64_t cols) const override;
  std::optional<std::string> find_tensor_defect(const TensorGrid* tensor_grid) const override;

 private:
  bool is_two_level() const { return spec_.scale == ScaleType::s6 || spec_.scale == ScaleType::s8; }
  bool has_blocks() const { return spec_.grain == PlanarGrain::block; }
  // Whether grids are written by pack_tensor, not with the codes of a row.
  bool has_shared_grids() const { return spec_.grain == PlanarGrain::tensor || has_blocks(); }
  bool is_double() const { return spec_.scale == ScaleType::dq; }
  bool has_table() const { return spec_.points == PlanarPoints::table; }
  std::size_t num_table_points() const { return has_table() ? std::size_t{1} << spec_.bits : 0; }
  std::size_t entropy_levels() const { return std::size_t{1} << (spec_.bits - 1); }
  std::size_t span_columns(std::size_t cols) const { return spec_.has_groups() ? spec_.group : cols; }

  std::unique_ptr<TensorGrid> prepare_blocks(std::span<const float> weights, std::uint64_t rows, std::uint64_t cols,
                                             std::span<const float> importance, const FitOptions& options) const;
  // Where a row of blocks begins in each plane.
  template <class Planes>
  Planes block_row(const Planes& planes, std::uint64_t index, std::uint64_t num_groups) const;

  void write_grid(const PlanarGrid& grid, const float* table, std::size_t span_index, const RowPlanes& row) const;
  // first_group: the number of the row's first group in the tensor, for dq.
  PlanarGrid read_grid(const ConstRowPlanes& row, std::size_t span_index, std::uint64_t first_group,
                       float* table) const;
  void find_codes(const PlanarGrid& grid, const float* table, std::span<const float> x, std::uint8_t* codes) const;
  void points_at_unit_scale(const std::byte* grid, const float* parameters, const Code* codes, std::size_t columns,
                            float* out) const;
  // Of formats with a bias.
  void find_codes_above(const PlanarGrid& grid, std::span<const float> x, std::uint8_t* codes) const;
  void find_values(const PlanarGrid& grid, const float* table, std::span<const std::uint8_t> codes, float* out) const;

  PlanarSpec spec_;
  CodeRange range_;
  const PointTable* fixed_table_;
  const SpanLoops& loops_;
};

// Null for formats of other kinds.
inline const PlanarSpec* find_planar_spec(const Format& format) {
  const auto* const planar = dynamic_cast<const PlanarFormat*>(&format);
  return planar == nullptr ? nullptr : &planar->spec();
}

// Null when the spelling (lower case) is not that of a planar format; Error(invalid_argument) as parse_planar.
FormatPtr make_planar_format(std::string_view spelling);

}  // namespace nibble
