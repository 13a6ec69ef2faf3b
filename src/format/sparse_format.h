// SPDX-License-Identifier: Apache-2.0
//
// Weights of which some are 0 and take no codes: of every four neighbours of a row two (2:4), or a share of every
// group.
//
//   int4:g64+sparse:2:4     bf16+sparse:2:4     int4:g128+sparse:50%
//
// Planes of a [rows, cols] tensor: those of the weights that are kept, one behind the other (of f16 and bf16 called
// "values"), and
//   kept   U8 [rows, ceil(cols / 8)]   a bit a column, least-significant first: 1 where the weight is kept
//
// Of 2:4 the first are those of the format before the plus for [rows, cols / 2], cols a multiple of 4: groups count
// what is kept, and g64 shares scales among 64 kept weights, which stand in 128 columns. Of a share groups count
// columns, in each of which as many are kept as in the other: of g128 and 50 % the planes are those of g64 for half the
// columns. In rows without groups, and of f16 and bf16, runs of 128 columns stand for groups. A weight that is not kept
// has the code kDroppedCode, which every format here has beside its own.
#pragma once

#include <limits>
#include <span>
#include <vector>

#include "format/format.h"
#include "format/quantized_tensor.h"
#include "format/span_loops.h"

namespace nibble {

inline constexpr Code kDroppedCode = std::numeric_limits<Code>::max();

// Which weights of a row are left out: `dropped` of every run of `columns`, of a last one that is shorter the same
// share, rounded down.
struct SparsePattern {
  std::size_t columns = 4, dropped = 2;
  unsigned percent = 0;  // of whole rows' runs; 0: two of four

  std::size_t dropped_of(std::size_t run_columns) const {
    return percent == 0 ? run_columns / columns * dropped : run_columns * percent / 100;
  }
};

// Chooses them: those with the least square times cost, of equals the first. costs: [cols], or empty: of every column
// the same. Writes 1 where a weight is dropped, to dropped[cols].
void choose_dropped(const SparsePattern& pattern, std::span<const float> row, std::span<const float> costs,
                    std::span<std::uint8_t> dropped);

class SparseFormat final : public Format, public LoopedFormat {
 public:
  // weights: planar with groups or rows of its own scales, f16 or bf16; Error(invalid_argument) otherwise. percent: of
  // the weights that are dropped; 0: two of four.
  SparseFormat(FormatPtr weights, unsigned percent);

  // The format before the plus.
  const FormatPtr& weights() const noexcept { return weights_; }
  const SparsePattern& pattern() const noexcept { return pattern_; }
  // The same numbers without a mask: a tensor whose format has codes for zeros, in which groups count columns. Null
  // where there is none.
  FormatPtr dense_format() const;
  QuantizedTensor dense(const QuantizedView& view, const FormatPtr& dense_format) const;

  FormatPtr with_loops(const SpanLoops& loops) const override;
  std::vector<PlaneSpec> planes(std::uint64_t rows, std::uint64_t cols) const override;
  std::size_t grid_bytes() const override { return kept_->grid_bytes(); }
  // Zeros are taken for dropped weights.
  void fit(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
           std::uint64_t row, const FitOptions& options, std::byte* grid, std::size_t span_index) const override;
  Code nearest(const std::byte* grid, std::size_t column, const float* target, const float* metric) const override;
  void value(const std::byte* grid, std::size_t column, Code code, float* out) const override;
  std::vector<GridPart> grid_parts(const std::byte* grid, std::size_t column) const override;
  std::uint64_t num_codes() const override { return kept_->num_codes(); }
  // As many codes of every run as the pattern says are kDroppedCode.
  void pack(const std::byte* grid, const Code* codes, std::size_t span_index, std::size_t columns,
            const RowPlanes& row) const override;
  void unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns, const TensorGrid* tensor_grid,
              std::uint64_t row_index, std::byte* grid, Code* codes) const override;
  void encode_row(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                  std::uint64_t row_index, const FitOptions& options, const RowPlanes& row) const override;
  std::optional<std::string> find_defect(const ConstRowPlanes& row, std::uint64_t cols) const override;

 private:
  std::size_t kept_of(std::size_t columns) const;  // whole runs, and a last one

  SparsePattern pattern_;
  FormatPtr weights_, kept_;  // kept_: of what is stored of the weights that are kept
  std::size_t plane_;         // the mask's place among the planes
};

// Null when the format keeps all weights.
inline const SparseFormat* find_sparse_format(const Format& format) {
  return dynamic_cast<const SparseFormat*>(&format);
}

// Null where nothing in the spelling (lower case) speaks of it; Error(invalid_argument) where it does and is wrong.
FormatPtr make_sparse_format(std::string_view spelling);

// What stands behind a plus: "sparse:2:4", "sparse:50%".
bool is_sparse_part(std::string_view part);

}  // namespace nibble
