// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/unit_form.h"

#include <bit>
#include <cstring>
#include <span>
#include <vector>

#include "base/half.h"
#include "format/block/iq1_m.h"
#include "format/block/iq1_s.h"
#include "format/block/iq2_s.h"
#include "format/block/iq2_xs.h"
#include "format/block/iq2_xxs.h"
#include "format/block/iq3_s.h"
#include "format/block/iq3_xxs.h"
#include "format/family/iq_grids.h"

namespace nibble {
namespace {

// --- tables (unit_shape.h) -------------------------------------------------------------------------------------------

std::vector<std::uint8_t> tables_of(std::span<const std::uint16_t> grid, std::size_t columns) {
  const std::size_t bits = columns == 8 ? 2 : 3, mask = (std::size_t{1} << bits) - 1;
  std::vector<std::uint8_t> tables(2 * grid.size());
  for (std::size_t i = 0; i < grid.size(); ++i) {
    const auto level = [&](std::size_t column) { return static_cast<unsigned>(grid[i] >> (bits * column) & mask); };
    for (std::size_t t = 0; t < 2; ++t)
      tables[t * grid.size() + i] = static_cast<std::uint8_t>(
          columns == 8 ? level(2 * t) | level(2 * t + 4) << 2 | level(2 * t + 1) << 4 | level(2 * t + 5) << 6
                       : level(t) | level(t + 2) << 4);
  }
  return tables;
}

// From a unit's bytes in the two tables to the bytes of its lines.
std::uint32_t lines_of(std::uint32_t a, std::uint32_t b, std::size_t columns) {
  if (columns == 4) return a | b << 8;
  const auto line = [](std::uint32_t levels) { return (levels & 3u) | (levels << 2 & 0x30u); };
  return line(a) | line(a >> 4) << 8 | line(b) << 16 | line(b >> 4) << 24;
}

struct Tables {
  std::vector<std::uint8_t> tables;
  std::vector<std::uint32_t> lines;

  Tables(std::span<const std::uint16_t> grid, std::size_t columns) : tables(tables_of(grid, columns)) {
    for (std::size_t i = 0; i < grid.size(); ++i)
      lines.push_back(lines_of(tables[i], tables[grid.size() + i], columns));
  }
};

template <auto& kGrid, std::size_t kColumns>
const Tables& tables() {
  static const Tables kTables(kGrid, kColumns);
  return kTables;
}

// --- reading ---------------------------------------------------------------------------------------------------------

template <class T>
struct Unpacked {
  typename T::Block block;
  typename T::Grid grid;
  Code codes[kBlockDepth / T::kInfo.unit];

  Unpacked(const ConstRowPlanes& row, std::size_t index, BlockCodes& out) {
    std::memcpy(&block, row[0] + index * sizeof block, sizeof block);
    T::unpack(block, grid, codes);
    out.super[0] = f32_to_f16(grid.d);
    for (std::size_t s = 0; s < std::size(grid.scales); ++s) out.scales[s] = grid.scales[s];
  }
};

std::uint8_t all_signs(unsigned seven) {
  return static_cast<std::uint8_t>(seven | (static_cast<unsigned>(std::popcount(seven)) & 1u) << 7);
}

// Index, then signs: eight, or seven.
template <class T, unsigned kIndexBits>
void read_signed(const IntegerForm& form, const ConstRowPlanes& row, std::size_t block, std::size_t, BlockCodes& out) {
  const Unpacked<T> in(row, block, out);
  for (std::size_t i = 0; i < kOctets; ++i) {
    const unsigned signs = in.codes[i] >> kIndexBits;
    out.unit_indices[i] = static_cast<std::uint16_t>(in.codes[i] & ((1u << kIndexBits) - 1u));
    out.unit_signs[i] =
        form.units.signs == UnitSigns::seven ? all_signs(signs & 127u) : static_cast<std::uint8_t>(signs);
  }
}

void read_iq3_xxs(const IntegerForm&, const ConstRowPlanes& row, std::size_t block, std::size_t, BlockCodes& out) {
  const Unpacked<IQ3_XXS> in(row, block, out);
  for (std::size_t i = 0; i < kOctets; ++i) {
    out.unit_indices[2 * i] = static_cast<std::uint16_t>(in.codes[i] & 255u);
    out.unit_indices[2 * i + 1] = static_cast<std::uint16_t>(in.codes[i] >> 8 & 255u);
    out.unit_signs[i] = all_signs(in.codes[i] >> 16 & 127u);
  }
}

void read_iq3_s(const IntegerForm&, const ConstRowPlanes& row, std::size_t block, std::size_t, BlockCodes& out) {
  const Unpacked<IQ3_S> in(row, block, out);
  for (std::size_t i = 0; i < 2 * kOctets; ++i) out.unit_indices[i] = static_cast<std::uint16_t>(in.codes[i] & 511u);
  for (std::size_t i = 0; i < kOctets; ++i)
    out.unit_signs[i] = static_cast<std::uint8_t>((in.codes[2 * i] >> 9 & 15u) | (in.codes[2 * i + 1] >> 9 & 15u) << 4);
}

void read_iq1_s(const IntegerForm&, const ConstRowPlanes& row, std::size_t block, std::size_t, BlockCodes& out) {
  const Unpacked<IQ1_S> in(row, block, out);
  for (std::size_t i = 0; i < kOctets; ++i) {
    out.unit_indices[i] = static_cast<std::uint16_t>(in.codes[i]);
    out.unit_signs[i] = in.grid.shifts[i / 4] < 0 ? 255 : 0;
  }
}

void read_iq1_m(const IntegerForm&, const ConstRowPlanes& row, std::size_t block, std::size_t, BlockCodes& out) {
  const Unpacked<IQ1_M> in(row, block, out);
  for (std::size_t i = 0; i < kOctets; ++i) {
    out.unit_indices[i] = static_cast<std::uint16_t>(in.codes[i] & 2047u);
    out.unit_signs[i] = (in.codes[i] >> 11 & 1u) != 0 ? 255 : 0;
  }
}

// --- forms -----------------------------------------------------------------------------------------------------------

// Points of levels and, in bit 3, a minus sign. factor: a scale is d (2 s + 1) times that.
template <std::size_t kLevels>
void set_signed_levels(IntegerForm& form, const float (&levels)[kLevels], float factor) {
  for (std::size_t i = 0; i < kLevels; ++i) {
    form.table[i] = levels[i] * factor;
    form.table[8 + i] = -levels[i] * factor;
    form.shape.points[i] = static_cast<std::uint8_t>(128 + static_cast<int>(levels[i]));
    form.shape.points[8 + i] = static_cast<std::uint8_t>(128 - static_cast<int>(levels[i]));
  }
  form.shape.factor = factor;
}

// Levels -1, 0 and 1, shifted by 1/8, down where bit 3 is set.
void set_shifted_levels(IntegerForm& form) {
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t down = 0; down < 2; ++down) {
      const float eighths = 8 * kIq1Levels[i] + (down != 0 ? -1.0f : 1.0f);
      form.table[8 * down + i] = eighths / 8;
      form.shape.points[8 * down + i] = static_cast<std::uint8_t>(128 + static_cast<int>(eighths));
    }
  form.shape.factor = 0.125f;
}

struct Line {
  const char* name;
  UnitShape units;
  std::uint32_t group;
  const Tables& (*tables)();
  IntegerForm::Read read;
};

const Line kLines[] = {
    {"iq2_xxs",
     {.columns = 8, .signs = UnitSigns::seven, .spare = SpareBit::scale},
     32,
     tables<kIq2XxsGrid, 8>,
     read_signed<IQ2_XXS, 8>},
    {"iq2_xs",
     {.columns = 8, .index_bits = 9, .signs = UnitSigns::seven, .spare = SpareBit::index},
     16,
     tables<kIq2XsGrid, 8>,
     read_signed<IQ2_XS, 9>},
    {"iq2_s", {.columns = 8, .index_bits = 10, .high_bits = 2}, 16, tables<kIq2SGrid, 8>, read_signed<IQ2_S, 10>},
    {"iq3_xxs",
     {.columns = 4, .signs = UnitSigns::seven, .spare = SpareBit::scale},
     32,
     tables<kIq3XxsGrid, 4>,
     read_iq3_xxs},
    {"iq3_s", {.columns = 4, .index_bits = 9, .high_bits = 1}, 32, tables<kIq3SGrid, 4>, read_iq3_s},
    {"iq1_s",
     {.columns = 8, .index_bits = 11, .high_bits = 4, .signs = UnitSigns::of_group},
     32,
     tables<kIq1SGrid, 8>,
     read_iq1_s},
    {"iq1_m",
     {.columns = 8, .index_bits = 11, .high_bits = 4, .signs = UnitSigns::of_unit},
     16,
     tables<kIq1SGrid, 8>,
     read_iq1_m},
};

}  // namespace

std::optional<IntegerForm> unit_form(const Format& format) {
  for (const Line& line : kLines) {
    if (format.name() != line.name) continue;
    IntegerForm form;
    form.units = line.units;
    form.units.tables = line.tables().tables.data();
    form.units.lines = line.tables().lines.data();
    form.read = line.read;
    form.shape = {.low_bits = 4,
                  .has_table = true,
                  .middle = 128,
                  .scale = ScaleKind::signed8,
                  .super_scales = 1,
                  .group = line.group};
    if (!has_signs(line.units))
      set_shifted_levels(form);
    else if (line.units.columns == 8)
      set_signed_levels(form, kIq2Levels, 0.125f);
    else if (line.units.index_bits == 8)
      set_signed_levels(form, kIq3XxsLevels, 0.25f);
    else
      set_signed_levels(form, kIq3SLevels, 1.0f);
    return form;
  }
  return std::nullopt;
}

}  // namespace nibble
