// SPDX-License-Identifier: Apache-2.0
//
// What can be stored. A format is a set of points (integers, a table, a lattice) on a grid (scales, offsets) chosen for
// each run of columns. Methods choose among the storable values through this interface and never see bytes; formats
// never see activations.
//
// Formats are immutable and safe to use from many threads. All functions are scalar reference code; kernels/ has fast
// twins that are tested against them bit for bit.
//
// Words: a *span* is the run of columns of one row that shares a grid (32, 256 with inner sub-scales, a whole row). A
// *unit* is the number of columns coded together (1, or 4 / 8 for vector types). A *code* names a point.
//
//   auto format = find_format("q4_k");
//   std::vector<std::byte> grid(format->grid_bytes());
//   format->fit(x, {}, nullptr, {}, grid.data());
//   Code code = format->nearest(grid.data(), 17, &x[17], nullptr);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace nibble {

using Code = std::uint32_t;

enum class FormatKind {
  raw,     // floating-point elements as they are: f32, f16, bf16
  block,   // codes and grid interleaved in fixed-size blocks: all of ggml
  planar,  // codes, scales, zeros, tables in tensors of their own
};

struct FormatInfo {
  std::string name;         // canonical spelling: "q4_k", "int4:g32:asym"
  std::string description;  // one line for help and tables
  FormatKind kind = FormatKind::raw;
  double bits_per_weight = 0;    // grids counted, for rows long enough that padding does not matter
  std::size_t unit = 1;          // columns coded together
  std::size_t span = 1;          // columns sharing a grid; 0: the whole row
  std::size_t row_multiple = 1;  // row lengths must be multiples of this
  std::size_t row_unit = 1;      // rows coded together: whoever cuts a tensor into rows cuts at multiples of this
  std::optional<std::uint32_t> ggml_type;   // GGUF tensor type id
  std::optional<std::uint32_t> ggml_ftype;  // general.file_type of a file in which this is the main type
  // Larger magnitudes do not fit (the scale's own type overflows): the scale saturates at its largest finite value and
  // the codes clip.
  double max_magnitude = std::numeric_limits<double>::infinity();
  std::int32_t first_code = 0;  // the integer that code 0 is known by: -128 where codes are signed bytes
};

// One number of a grid under the name by which people know it ("scale", "zero point").
struct GridPart {
  std::string name;
  double value = 0;
};

// How a grid is chosen (the "fit" stage). `automatic` is the format's own default, the one that measures best for its
// time.
//
// For block formats that ggml's reference fills by plain rounding, absmax and minmax are that rounding, to the byte.
// percentile and entropy cut off the range of each group (format/clip.h) and then round plainly. absmean and threshold
// are rules for ternary and binary points; other formats take them as absmax.
//
// exact finds the grid on which the numbers lie already, where integers times a scale have one (common_step.h);
// elsewhere it is absmax.
enum class FitRule { automatic, absmax, minmax, search, percentile, entropy, absmean, threshold, exact };

struct FitOptions {
  FitRule rule = FitRule::automatic;
  double percentile = 99.9;  // for FitRule::percentile: the share of magnitudes kept inside the range, in percent
  // For FitRule::entropy: the magnitude at which all groups are cut off. encode_row and prepare find it for a whole
  // row; 0: not found yet.
  float row_clip = 0;
};

// What is global to a tensor or a row beyond span grids: NVFP4's tensor scale, doubly quantized scales, learned tables.
class TensorGrid {
 public:
  virtual ~TensorGrid() = default;
};

// One stored tensor of a format. Block and raw formats have one plane with an empty suffix; planar formats have
// "codes", "scales", and where needed "zeros", "table".
struct PlaneSpec {
  std::string suffix;
  DType dtype = DType::u8;
  Shape shape;                  // as written to files; for block formats [rows, bytes per row] of U8
  std::uint64_t row_bytes = 0;  // bytes that belong to one row, or to row_unit rows; 0: the plane is the whole tensor's
  std::uint64_t bytes = 0;
  std::uint64_t row_unit = 1;  // rows that share row_bytes, the last of a tensor perhaps fewer
};

inline constexpr std::size_t kMaxPlanes = 5;
using RowPlanes =
    std::array<std::byte*, kMaxPlanes>;  // where one row begins in each plane (tensor-wide planes: their start)
using ConstRowPlanes = std::array<const std::byte*, kMaxPlanes>;

class Format {
 public:
  virtual ~Format() = default;
  const FormatInfo& info() const noexcept { return info_; }
  const std::string& name() const noexcept { return info_.name; }

  // --- storage -------------------------------------------------------------------------------------------------------

  // The planes of a [rows, cols] tensor. Error(unsupported) when cols is not a multiple of row_multiple: says which and
  // by how much.
  virtual std::vector<PlaneSpec> planes(std::uint64_t rows, std::uint64_t cols) const = 0;

  // A tensor of this row length can be cut into tensors of fewer rows at multiples of this: between rows that share
  // anything but what the whole tensor shares. A multiple of row_unit.
  virtual std::uint64_t cut_multiple(std::uint64_t) const { return info_.row_unit; }

  // --- grid ----------------------------------------------------------------------------------------------------------

  // Size of one span's grid as held in memory (trivially copyable; may be wider than its stored form, never more
  // precise). Grids lie at multiples of this size from an address that `new` would return.
  virtual std::size_t grid_bytes() const = 0;

  // Chooses what is global to the tensor. weights: [rows * cols] row-major; importance: per column, may be empty. Most
  // formats need nothing: nullptr. Formats with a row_unit take any run of rows that begins at a multiple of it for the
  // tensor; rows then count from the run's first, here as in fit, encode_row and pack_tensor.
  virtual std::unique_ptr<TensorGrid> prepare(std::span<const float> weights, std::uint64_t rows, std::uint64_t cols,
                                              std::span<const float> importance, const FitOptions& options) const;
  // True when prepare() must see the whole tensor before rows can be encoded.
  virtual bool needs_prepare() const { return false; }
  // Writes the tensor-wide planes / reads them back. Rows are untouched.
  virtual void pack_tensor(const TensorGrid* tensor_grid, const RowPlanes& planes) const;
  virtual std::unique_ptr<TensorGrid> unpack_tensor(const ConstRowPlanes& planes, std::uint64_t rows,
                                                    std::uint64_t cols) const;

  // Chooses the grid of one span, exactly storable. x: the span's values (finite; the last span of a row may be short
  // where the format allows it). importance: empty or one non-negative weight per value. grid: grid_bytes() bytes,
  // written. `row` is the row's index and span_index the span's within it (for tensor grids that differ by them).
  virtual void fit(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                   std::uint64_t row, const FitOptions& options, std::byte* grid, std::size_t span_index = 0) const = 0;

  // --- codes ---------------------------------------------------------------------------------------------------------

  // The code of the storable point nearest to target[unit], for the unit whose first column is `column` within its
  // span. metric: null for plain squares, or a [unit x unit] positive semi-definite matrix. Ties as the format's
  // reference says, else to even.
  virtual Code nearest(const std::byte* grid, std::size_t column, const float* target, const float* metric) const = 0;

  // The value of a code: out[unit].
  virtual void value(const std::byte* grid, std::size_t column, Code code, float* out) const = 0;

  // The grid in words, for showing: the numbers that decide the points at this column, outermost first. May be empty.
  virtual std::vector<GridPart> grid_parts(const std::byte* grid, std::size_t column) const;

  // The number of codes is info-dependent; codes below this are valid for every unit.
  virtual std::uint64_t num_codes() const = 0;

  // --- bytes ---------------------------------------------------------------------------------------------------------

  // Writes span number `span_index` of a row (its grid and its codes, one per unit) into the row's planes. Bits of
  // neighbouring spans stay as they are; planes start zeroed. columns: how many columns this span has.
  virtual void pack(const std::byte* grid, const Code* codes, std::size_t span_index, std::size_t columns,
                    const RowPlanes& row) const = 0;
  virtual void unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns,
                      const TensorGrid* tensor_grid, std::uint64_t row_index, std::byte* grid, Code* codes) const = 0;

  // --- whole rows ----------------------------------------------------------------------------------------------------
  // The defaults are built from the functions above; overridden where a direct loop is clearer or the reference's rule
  // is not "fit, then nearest".

  // fit + nearest + pack for one row of any length that planes() accepts: quantize. decode_row dequantizes.
  virtual void encode_row(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                          std::uint64_t row_index, const FitOptions& options, const RowPlanes& row) const;
  virtual void decode_row(const ConstRowPlanes& row, const TensorGrid* tensor_grid, std::uint64_t row_index,
                          std::span<float> out) const;

  // Looks for what no writer should have stored (NaN or infinite scales, reserved codes). Returns a description with
  // the column, or nothing when the row is sound.
  virtual std::optional<std::string> find_defect(const ConstRowPlanes& row, std::uint64_t cols) const;
  // The same for what is global to the tensor, as unpack_tensor returned it.
  virtual std::optional<std::string> find_tensor_defect(const TensorGrid* tensor_grid) const;

 protected:
  explicit Format(FormatInfo info) : info_(std::move(info)) {}
  FormatInfo info_;
};

using FormatPtr = std::shared_ptr<const Format>;

// A format by any accepted spelling ("Q4_K", "int4:g32:asym"). Error(invalid_argument) says what is wrong with the
// spelling and lists near names.
FormatPtr find_format(std::string_view spelling);
// By GGUF tensor type id; null when the id is not a type known here.
FormatPtr find_ggml_format(std::uint32_t ggml_type);
// By the element type of a plain tensor (f32, f16, bf16), null for others.
FormatPtr find_raw_format(DType dtype);

// The index of the first NaN or infinity, if there is one. Formats take finite values only: whoever feeds them judges
// first.
std::optional<std::size_t> first_not_finite(std::span<const float> values);

// Every block and raw format, and the planar families' usual members, in the order in which help shows them.
std::vector<FormatPtr> list_formats();

}  // namespace nibble
