// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/integer_form_blocks.h"

#include <cstring>

#include "format/block/iq4_nl.h"
#include "format/block/iq4_xs.h"
#include "format/block/mxfp4.h"
#include "format/block/nvfp4.h"
#include "format/block/q1_0.h"
#include "format/block/q2_0.h"
#include "format/block/q2_k.h"
#include "format/block/q3_k.h"
#include "format/block/q4_0.h"
#include "format/block/q4_1.h"
#include "format/block/q4_k.h"
#include "format/block/q5_0.h"
#include "format/block/q5_1.h"
#include "format/block/q5_k.h"
#include "format/block/q6_k.h"
#include "format/block/q8_0.h"
#include "format/block/tq1_0.h"
#include "format/block/tq2_0.h"
#include "kernels/linear/integer_form_planar.h"

namespace nibble {
namespace {

template <class Block>
Block block_at(const ConstRowPlanes& row, std::size_t index) {
  Block block;
  std::memcpy(&block, row[0] + index * sizeof(Block), sizeof block);
  return block;
}

// Formats whose blocks are shorter than the kernels': several in a row, each a group.
template <class T, void (*kRead)(const typename T::Block&, std::uint8_t*, BlockCodes&, std::size_t)>
void read_short_blocks(const IntegerForm&, const ConstRowPlanes& row, std::size_t block, std::size_t columns,
                       BlockCodes& out) {
  constexpr std::size_t kColumns = T::kInfo.columns;
  for (std::size_t i = 0; i * kColumns < columns; ++i)
    kRead(block_at<typename T::Block>(row, block * (kBlockDepth / kColumns) + i), out.codes + i * kColumns, out, i);
}

void read_q8_0(const Q8_0::Block& block, std::uint8_t* codes, BlockCodes& out, std::size_t group) {
  for (std::size_t i = 0; i < 32; ++i) codes[i] = static_cast<std::uint8_t>(block.qs[i] + 128);
  out.scales[group] = block.d;
}

template <class T>
void read_symmetric(const typename T::Block& block, std::uint8_t* codes, BlockCodes& out, std::size_t group) {
  T::unpack_codes(block, codes);
  out.scales[group] = block.d;
}

template <class T>
void read_affine(const typename T::Block& block, std::uint8_t* codes, BlockCodes& out, std::size_t group) {
  T::unpack_codes(block, codes);
  out.scales[group] = block.d;
  out.offsets[group] = block.m;
}

// Formats whose codes are the stored ones and whose grid is a half for each block.
template <class T>
void read_plain(const typename T::Block& block, std::uint8_t* codes, BlockCodes& out, std::size_t group) {
  Code wide[T::kInfo.columns];
  typename T::Grid grid;
  T::unpack(block, grid, wide);
  for (std::size_t i = 0; i < T::kInfo.columns; ++i) codes[i] = static_cast<std::uint8_t>(wide[i]);
  if constexpr (requires { block.d; }) {
    if constexpr (requires { block.d[0]; }) {
      // Scales that decode to 0 are stored as 0; a sign or a reserved code is a defect that reading reports.
      for (std::size_t s = 0; s < 4; ++s) out.scales[4 * group + s] = grid.d[s] == 0 ? 0 : block.d[s] & 0x7fu;
    } else {
      out.scales[group] = block.d;
    }
  } else {
    out.scales[group] = block.e;
  }
}

template <class T>
typename T::Grid unpack_super_block(const typename T::Block& block, BlockCodes& out) {
  Code codes[kBlockDepth];
  typename T::Grid grid;
  T::unpack(block, grid, codes);
  for (std::size_t i = 0; i < kBlockDepth; ++i) out.codes[i] = static_cast<std::uint8_t>(codes[i]);
  return grid;
}

// d * scale * (code - middle)
template <class T>
void read_symmetric_k(const IntegerForm& form, const ConstRowPlanes& row, std::size_t index, std::size_t,
                      BlockCodes& out) {
  const auto block = block_at<typename T::Block>(row, index);
  const auto grid = unpack_super_block<T>(block, out);
  out.super[0] = block.d;
  for (std::size_t s = 0; s < kBlockDepth / form.shape.group; ++s)
    out.scales[s] = static_cast<std::uint8_t>(grid.scales[s]);
}

// d * scale * code - dmin * minimum
template <class T>
void read_affine_k(const IntegerForm& form, const ConstRowPlanes& row, std::size_t index, std::size_t,
                   BlockCodes& out) {
  const auto block = block_at<typename T::Block>(row, index);
  const auto grid = unpack_super_block<T>(block, out);
  out.super[0] = block.d;
  out.super[1] = block.dmin;
  for (std::size_t s = 0; s < kBlockDepth / form.shape.group; ++s) {
    out.scales[s] = grid.scales[s];
    out.offsets[s] = grid.minima[s];
  }
}

// E2M1 of the Microscaling formats; MXFP4 and NVFP4 number them by bit pattern.
constexpr float kE2m1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, 0, -0.5f, -1, -1.5f, -2, -3, -4, -6};

struct Line {
  const char* name;
  IntegerShape shape;
  IntegerForm::Read read;
  const float* points;  // 16 of them for formats with a table
};

const Line kLines[] = {
    {"q8_0", {.low_bits = 8, .middle = 128}, read_short_blocks<Q8_0, read_q8_0>, nullptr},
    {"q4_0", {.low_bits = 4, .middle = 8}, read_short_blocks<Q4_0, read_symmetric<Q4_0>>, nullptr},
    {"q5_0", {.low_bits = 4, .high_bits = 1, .middle = 16}, read_short_blocks<Q5_0, read_symmetric<Q5_0>>, nullptr},
    {"q4_1", {.low_bits = 4, .offset = OffsetKind::f16}, read_short_blocks<Q4_1, read_affine<Q4_1>>, nullptr},
    {"q5_1",
     {.low_bits = 4, .high_bits = 1, .offset = OffsetKind::f16},
     read_short_blocks<Q5_1, read_affine<Q5_1>>,
     nullptr},
    {"q6_k",
     {.low_bits = 4, .high_bits = 2, .middle = 32, .scale = ScaleKind::signed8, .super_scales = 1, .group = 16},
     read_symmetric_k<Q6_K>,
     nullptr},
    {"q5_k",
     {.low_bits = 4,
      .high_bits = 1,
      .scale = ScaleKind::unsigned8,
      .offset = OffsetKind::minus_unsigned8,
      .super_scales = 2},
     read_affine_k<Q5_K>,
     nullptr},
    {"q4_k",
     {.low_bits = 4, .scale = ScaleKind::unsigned8, .offset = OffsetKind::minus_unsigned8, .super_scales = 2},
     read_affine_k<Q4_K>,
     nullptr},
    {"q3_k",
     {.low_bits = 2, .high_bits = 1, .middle = 4, .scale = ScaleKind::signed6, .super_scales = 1, .group = 16},
     read_symmetric_k<Q3_K>,
     nullptr},
    {"q2_k",
     {.low_bits = 2,
      .scale = ScaleKind::unsigned4,
      .offset = OffsetKind::minus_unsigned4,
      .super_scales = 2,
      .group = 16},
     read_affine_k<Q2_K>,
     nullptr},
    {"iq4_xs",
     {.low_bits = 4, .scale = ScaleKind::signed8, .super_scales = 1},
     read_symmetric_k<IQ4_XS>,
     IQ4_XSShape::kPoints},
    {"iq4_nl", {.low_bits = 4}, read_short_blocks<Iq4_Nl, read_plain<Iq4_Nl>>, IQ4_XSShape::kPoints},
    {"mxfp4", {.low_bits = 4, .scale = ScaleKind::e8m0}, read_short_blocks<Mxfp4, read_plain<Mxfp4>>, kE2m1},
    {"nvfp4",
     {.low_bits = 4, .scale = ScaleKind::e4m3, .group = 16},
     read_short_blocks<Nvfp4, read_plain<Nvfp4>>,
     kE2m1},
    {"q2_0", {.low_bits = 2, .middle = 1, .group = 64}, read_short_blocks<Q2_0, read_plain<Q2_0>>, nullptr},
    {"q1_0", {.low_bits = 1, .middle = 1, .group = 128}, read_short_blocks<Q1_0, read_plain<Q1_0>>, nullptr},
    {"tq2_0", {.low_bits = 2, .middle = 1, .group = 256}, read_short_blocks<Tq2_0, read_plain<Tq2_0>>, nullptr},
    {"tq1_0", {.low_bits = 2, .middle = 1, .group = 256}, read_short_blocks<Tq1_0, read_plain<Tq1_0>>, nullptr},
};

}  // namespace

std::optional<IntegerForm> block_integer_form(const Format& format) {
  for (const Line& line : kLines) {
    if (format.name() != line.name) continue;
    IntegerForm form;
    form.shape = line.shape;
    form.read = line.read;
    if (line.points != nullptr) {
      std::array<float, 16> points;
      std::copy_n(line.points, 16, points.begin());
      set_points(form, points);
    }
    return form;
  }
  return std::nullopt;
}

}  // namespace nibble
