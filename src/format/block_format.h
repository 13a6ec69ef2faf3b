// SPDX-License-Identifier: Apache-2.0
//
// Block formats are compile-time types; this header says what such a type must offer (the concept BlockType) and turns
// it into a Format (the template BlockFormat). Stateless, safe to use from many threads.
//
//   struct Q8_0 {
//     static constexpr BlockDescriptor kInfo{.name = "q8_0", .description = "...", .columns = 32, .num_codes = 256,
//     .ggml_type = 8}; struct Block { std::uint16_t d; std::int8_t qs[32]; };     // exactly the bytes of the file,
//     little-endian struct Grid { float d; };                                   // trivially copyable, exactly storable
//     static void fit(const float* x, const float* importance, const FitOptions& options, Grid& grid);
//     static Code nearest(const Grid& grid, std::size_t column, const float* target, const float* metric);
//     static void value(const Grid& grid, std::size_t column, Code code, float* out);
//     static void pack(const Grid& grid, const Code* codes, Block& block);
//     static void unpack(const Block& block, Grid& grid, Code* codes);
//   };
//   FormatPtr make_q8_0() { return std::make_shared<BlockFormat<Q8_0>>(); }
//
// x and importance hold `columns` values (importance may be null), codes hold columns / unit. Optional members:
//
//   static void encode(const float* x, const float* importance, const FitOptions& options, Block& block);
//       where the reference's rule is not "fit, then nearest", or a direct loop is faster
//   static void decode(const Block& block, float* out);                    a direct loop; must equal unpack + value to
//   the bit static std::optional<std::string> find_defect(const Block& block);     what no writer should have stored,
//   without the position static std::vector<GridPart> grid_parts(const Grid& grid, std::size_t column);
//       the grid in words; grids with nothing but a scale d (and a minimum m) need none
//   static constexpr std::size_t kParameters;                              what training may change (trainable_grid.h)
//   static void parameters(const Grid& grid, float* out);                  where it is something else than halves d and
//   static void set_parameters(const float* parameters, Grid& grid);       m or dmin: these are rounded by pack
//
// Types whose searches are made of loops over spans (span_loops.h) take a const SpanLoops& after the options, in fit
// and in encode, and are LoopedBlockFormats.
#pragma once

#include <algorithm>
#include <cassert>
#include <concepts>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>

#include "format/clip.h"
#include "format/format.h"
#include "format/scale.h"
#include "format/span_loops.h"
#include "format/trainable_grid.h"
#include "nibble/error.h"

namespace nibble {

struct BlockDescriptor {
  const char* name = "";         // canonical, lower case
  const char* description = "";  // one line
  std::size_t columns = 32;      // of one block, which is also the span
  std::size_t unit = 1;          // columns coded together
  std::uint64_t num_codes = 0;   // codes below this are valid for every unit
  std::uint32_t ggml_type = 0;
  std::optional<std::uint32_t> ggml_ftype = std::nullopt;
  double max_magnitude = std::numeric_limits<double>::infinity();  // see FormatInfo
  std::int32_t first_code = 0;                                     // see FormatInfo
  std::size_t inner = 0;                                           // columns that share the innermost scale; 0: all
};

template <class T>
concept UsesSpanLoops = requires(const float* x, const FitOptions& options, const SpanLoops& loops,
                                 typename T::Grid& grid) { T::fit(x, x, options, loops, grid); };

template <class T>
concept BlockType =
    requires(const float* x, float* out, Code* codes, const Code* const_codes, const FitOptions& options,
             typename T::Grid& grid, const typename T::Grid& const_grid, typename T::Block& block,
             const typename T::Block& const_block, std::size_t column) {
      { T::kInfo } -> std::convertible_to<BlockDescriptor>;
      { T::nearest(const_grid, column, x, x) } -> std::same_as<Code>;
      T::value(const_grid, column, Code{}, out);
      T::pack(const_grid, const_codes, block);
      T::unpack(const_block, grid, codes);
    } &&
    (UsesSpanLoops<T> ||
     requires(const float* x, const FitOptions& options, typename T::Grid& grid) { T::fit(x, x, options, grid); }) &&
    std::is_trivially_copyable_v<typename T::Block> && std::is_trivially_copyable_v<typename T::Grid> &&
    (alignof(typename T::Grid) <= 16);

// A row whose length is not a multiple of the block: says by how much. Error(unsupported).
[[noreturn]] void throw_row_not_multiple(const FormatInfo& info, std::uint64_t cols);

// The second of the numbers that a value is linear in.
template <class Grid>
constexpr bool kHasMinimum = requires(const Grid& grid) { float{grid.m}; };
template <class Grid>
constexpr bool kHasMinimumScale = requires(const Grid& grid) { float{grid.dmin}; };

template <BlockType T>
class BlockFormat : public Format, public TrainableGrid {
  using Block = typename T::Block;
  using Grid = typename T::Grid;
  static constexpr BlockDescriptor kInfo = T::kInfo;
  static constexpr std::size_t kColumns = kInfo.columns;
  static constexpr std::size_t kUnits = kColumns / kInfo.unit;
  static_assert(kColumns % kInfo.unit == 0);

 public:
  explicit BlockFormat(const SpanLoops& loops = plain_span_loops()) : Format(make_info()), loops_(loops) {}

  std::vector<PlaneSpec> planes(std::uint64_t rows, std::uint64_t cols) const override {
    if (cols % kColumns != 0) throw_row_not_multiple(info_, cols);
    const std::uint64_t row_bytes = cols / kColumns * sizeof(Block);
    return {PlaneSpec{"", DType::u8, {rows, row_bytes}, row_bytes, checked_elements({rows, row_bytes}, kInfo.name)}};
  }

  std::size_t grid_bytes() const override { return sizeof(Grid); }

  void fit(std::span<const float> x, std::span<const float> importance, const TensorGrid*, std::uint64_t,
           const FitOptions& options, std::byte* grid, std::size_t) const override {
    assert(x.size() == kColumns && (importance.empty() || importance.size() == kColumns));
    Grid fitted{};
    const Clipped clipped(x.data(), options);
    fit_block(clipped.values(), importance.empty() ? nullptr : importance.data(), clipped.options(), fitted);
    std::memcpy(grid, &fitted, sizeof(Grid));
  }

  Code nearest(const std::byte* grid, std::size_t column, const float* target, const float* metric) const override {
    return T::nearest(as_grid(grid), column, target, metric);
  }

  void value(const std::byte* grid, std::size_t column, Code code, float* out) const override {
    T::value(as_grid(grid), column, code, out);
  }

  std::size_t num_parameters() const override { return kParameters; }

  void parameters(const std::byte* grid, float* out) const override {
    if constexpr (requires { T::kParameters; }) {
      T::parameters(as_grid(grid), out);
    } else {
      out[0] = as_grid(grid).d;
      if constexpr (kHasMinimum<Grid>) out[1] = as_grid(grid).m;
      if constexpr (kHasMinimumScale<Grid>) out[1] = as_grid(grid).dmin;
    }
  }

  void store(const float* parameters, std::byte* grid) const override {
    Grid typed = as_grid(grid);
    set_parameters(parameters, typed);
    std::memcpy(grid, &typed, sizeof(Grid));
  }

  void values(const std::byte* grid, const float* parameters, const Code* codes, std::size_t columns,
              float* out) const override {
    float slopes_of[kParameters][kColumns];
    slopes(grid, parameters, codes, columns, slopes_of[0]);
    for (std::size_t i = 0; i < columns; ++i) {
      out[i] = 0;
      for (std::size_t p = 0; p < kParameters; ++p) out[i] += parameters[p] * slopes_of[p][i];
    }
  }

  // Values are linear in all of them together: a slope is the value where its number is 1 and the others are 0.
  void slopes(const std::byte* grid, const float*, const Code* codes, std::size_t columns, float* out) const override {
    assert(columns == kColumns);
    for (std::size_t p = 0; p < kParameters; ++p) {
      float one[kParameters] = {};
      one[p] = 1;
      Grid typed = as_grid(grid);
      set_parameters(one, typed);
      for (std::size_t i = 0; i < kUnits; ++i)
        T::value(typed, i * kInfo.unit, codes[i], out + p * columns + i * kInfo.unit);
    }
  }

  std::uint64_t num_codes() const override { return kInfo.num_codes; }

  std::vector<GridPart> grid_parts(const std::byte* grid, std::size_t column) const override {
    if constexpr (requires(const Grid& typed) { T::grid_parts(typed, column); }) {
      return T::grid_parts(as_grid(grid), column);
    } else {
      std::vector<GridPart> parts;
      if constexpr (requires(const Grid& typed) { float{typed.d}; })
        parts.push_back({"scale d", static_cast<double>(as_grid(grid).d)});
      if constexpr (requires(const Grid& typed) { float{typed.m}; })
        parts.push_back({"minimum m", static_cast<double>(as_grid(grid).m)});
      return parts;
    }
  }

  void pack(const std::byte* grid, const Code* codes, std::size_t span_index, std::size_t columns,
            const RowPlanes& row) const override {
    assert(columns == kColumns);
    static_cast<void>(columns);
    Block block{};
    T::pack(as_grid(grid), codes, block);
    std::memcpy(row[0] + span_index * sizeof(Block), &block, sizeof(Block));
  }

  void unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns, const TensorGrid*, std::uint64_t,
              std::byte* grid, Code* codes) const override {
    assert(columns == kColumns);
    static_cast<void>(columns);
    Grid unpacked{};
    T::unpack(load(row, span_index), unpacked, codes);
    std::memcpy(grid, &unpacked, sizeof(Grid));
  }

  void encode_row(std::span<const float> x, std::span<const float> importance, const TensorGrid*, std::uint64_t,
                  const FitOptions& given, const RowPlanes& row) const override {
    assert(x.size() % kColumns == 0 && (importance.empty() || importance.size() == x.size()));
    const FitOptions options = clip_for_row(x, kLevels, given);
    for (std::size_t i = 0; i * kColumns < x.size(); ++i) {
      Block block{};
      const Clipped clipped(x.data() + i * kColumns, options);
      encode_block(clipped.values(), importance.empty() ? nullptr : importance.data() + i * kColumns, clipped.options(),
                   block);
      std::memcpy(row[0] + i * sizeof(Block), &block, sizeof(Block));
    }
  }

  void decode_row(const ConstRowPlanes& row, const TensorGrid*, std::uint64_t, std::span<float> out) const override {
    assert(out.size() % kColumns == 0);
    for (std::size_t i = 0; i * kColumns < out.size(); ++i) decode_block(load(row, i), out.data() + i * kColumns);
  }

  std::optional<std::string> find_defect(const ConstRowPlanes& row, std::uint64_t cols) const override {
    if constexpr (requires(const Block& block) { T::find_defect(block); }) {
      for (std::size_t i = 0; i * kColumns < cols; ++i) {
        if (auto defect = T::find_defect(load(row, i))) return *defect + " at column " + std::to_string(i * kColumns);
      }
    }
    static_cast<void>(row);
    static_cast<void>(cols);
    return std::nullopt;
  }

 private:
  static FormatInfo make_info() {
    FormatInfo info;
    info.name = kInfo.name;
    info.description = kInfo.description;
    info.kind = FormatKind::block;
    info.bits_per_weight = 8.0 * sizeof(Block) / static_cast<double>(kColumns);
    info.unit = kInfo.unit;
    info.span = kColumns;
    info.row_multiple = kColumns;
    info.ggml_type = kInfo.ggml_type;
    info.ggml_ftype = kInfo.ggml_ftype;
    info.max_magnitude = kInfo.max_magnitude;
    info.first_code = kInfo.first_code;
    return info;
  }

  static constexpr std::size_t kParameters = [] {
    if constexpr (requires { T::kParameters; })
      return T::kParameters;
    else
      return std::size_t{1} + (kHasMinimum<Grid> || kHasMinimumScale<Grid> ? 1 : 0);
  }();

  // Halves are rounded, and what follows from them found again, on the way through a block's bytes.
  static void set_parameters(const float* parameters, Grid& grid) {
    if constexpr (requires { T::kParameters; }) {
      T::set_parameters(parameters, grid);
    } else {
      const auto half = [](float value) { return f16_to_f32(to_f16_saturated(value)); };
      grid.d = half(parameters[0]);
      if constexpr (kHasMinimum<Grid>) grid.m = half(parameters[1]);
      if constexpr (kHasMinimumScale<Grid>) grid.dmin = half(parameters[1]);
      Block block{};
      Code codes[kUnits] = {};
      T::pack(grid, codes, block);
      T::unpack(block, grid, codes);
    }
  }

  // Levels of magnitude, for FitRule::entropy; points that are vectors have none.
  static constexpr std::size_t kLevels = kInfo.unit == 1 ? static_cast<std::size_t>(kInfo.num_codes) / 2 : 0;
  static constexpr std::size_t kInner = kInfo.inner == 0 ? kColumns : kInfo.inner;
  static_assert(kColumns % kInner == 0);

  // FitRule::percentile and entropy are "cut off the range of each inner group, then absmax" for every block format;
  // other rules pass through.
  class Clipped {
   public:
    Clipped(const float* x, const FitOptions& options) : values_(x), options_(options) {
      if (!is_clipping(options.rule)) return;
      options_.rule = FitRule::absmax;
      for (std::size_t begin = 0; begin < kColumns; begin += kInner) {
        const std::span<const float> group(x + begin, kInner);
        const float clip = clip_of(group, kLevels, options);
        std::transform(group.begin(), group.end(), copy_ + begin,
                       [clip](float value) { return clip > 0 ? std::clamp(value, -clip, clip) : value; });
      }
      values_ = copy_;
    }
    Clipped(const Clipped&) = delete;
    Clipped& operator=(const Clipped&) = delete;
    const float* values() const { return values_; }
    const FitOptions& options() const { return options_; }

   private:
    const float* values_;
    FitOptions options_;
    float copy_[kColumns];
  };

  static const Grid& as_grid(const std::byte* grid) { return *reinterpret_cast<const Grid*>(grid); }

  // Blocks in mapped files need not be aligned.
  static Block load(const ConstRowPlanes& row, std::size_t index) {
    Block block;
    std::memcpy(&block, row[0] + index * sizeof(Block), sizeof(Block));
    return block;
  }

  void fit_block(const float* x, const float* importance, const FitOptions& options, Grid& grid) const {
    if constexpr (UsesSpanLoops<T>) {
      T::fit(x, importance, options, loops_, grid);
    } else {
      T::fit(x, importance, options, grid);
    }
  }

  void encode_block(const float* x, const float* importance, const FitOptions& options, Block& block) const {
    if constexpr (requires { T::encode(x, importance, options, loops_, block); }) {
      T::encode(x, importance, options, loops_, block);
    } else if constexpr (requires { T::encode(x, importance, options, block); }) {
      T::encode(x, importance, options, block);
    } else {
      Grid grid{};
      Code codes[kUnits];
      fit_block(x, importance, options, grid);
      for (std::size_t i = 0; i < kUnits; ++i) codes[i] = T::nearest(grid, i * kInfo.unit, x + i * kInfo.unit, nullptr);
      T::pack(grid, codes, block);
    }
  }

  static void decode_block(const Block& block, float* out) {
    if constexpr (requires { T::decode(block, out); }) {
      T::decode(block, out);
    } else {
      Grid grid{};
      Code codes[kUnits];
      T::unpack(block, grid, codes);
      for (std::size_t i = 0; i < kUnits; ++i) T::value(grid, i * kInfo.unit, codes[i], out + i * kInfo.unit);
    }
  }

  const SpanLoops& loops_;
};

// One whose type uses loops.
template <BlockType T>
  requires UsesSpanLoops<T>
class LoopedBlockFormat final : public BlockFormat<T>, public LoopedFormat {
 public:
  using BlockFormat<T>::BlockFormat;
  FormatPtr with_loops(const SpanLoops& loops) const override { return std::make_shared<LoopedBlockFormat>(loops); }
};

}  // namespace nibble
