// SPDX-License-Identifier: Apache-2.0
//
// The one list of formats. Names, ids, help, tests, benchmarks and the table in the docs are derived from it.
//
// A block format `x` lives in block/x.cpp, which defines `FormatPtr make_x()`; its line here and its line in
// CMakeLists.txt are all it needs to appear everywhere. The order is the order in which help shows them.
#pragma once

#include <array>
#include <string_view>

#include "format/format.h"

// clang-format off
#define NIBBLE_BLOCK_FORMATS(LINE) \
  LINE(q8_0) \
  LINE(q6_k) \
  LINE(q5_1) \
  LINE(q5_k) \
  LINE(q5_0) \
  LINE(q4_1) \
  LINE(q4_k) \
  LINE(q4_0) \
  LINE(iq4_nl) \
  LINE(nvfp4) \
  LINE(iq4_xs) \
  LINE(mxfp4) \
  LINE(q3_k) \
  LINE(iq3_s) \
  LINE(iq3_xxs) \
  LINE(q2_k) \
  LINE(iq2_s) \
  LINE(iq2_xs) \
  LINE(q2_0) \
  LINE(iq2_xxs) \
  LINE(tq2_0) \
  LINE(iq1_m) \
  LINE(tq1_0) \
  LINE(iq1_s) \
  LINE(q1_0)

// clang-format on

namespace nibble {

#define NIBBLE_DECLARE(name) FormatPtr make_##name();
NIBBLE_BLOCK_FORMATS(NIBBLE_DECLARE)
#undef NIBBLE_DECLARE

// Members of the planar families that help shows and tests run over; every other spelling is accepted as well.
// clang-format off
inline constexpr auto kUsualPlanarFormats = std::to_array<std::string_view>({
  "int8:row", "int8:tensor:asym", "int8:block128x128", "int4:block32x64:asym:f16", "fp8:block128x128",
  "uint8:row:asym", "int7:row", "int6:g64", "int5:g64", "int4:g32", "int4:g128", "int4:g32:asym", "int4:g64:bias",
  "int4:g32:bias:bf16", "int4:g64:s6", "int4:row", "int3:g64", "int3:g128:asym", "int2:g32", "int2:g32:signed",
  "int2:g64:half", "int3:g128:half", "int3:g128:signed", "int4:g64:half",
  "int2:g64:asym", "int1:g32:asym", "ternary:row", "ternary:g64", "binary:row", "nf4:g64", "nf4:g64:s8", "nf4:g64:dq",
  "fp4:g64", "fp4:g64:dq", "e2m1:g32:e8m0", "fp8:row", "fp8_e5m2:row", "fp8:g32:e8m0", "fp8_e5m2:g32:e8m0",
  "fp6:g32:e8m0", "fp6_e3m2:g32:e8m0", "table4:row", "table3:row", "table2:g256"});
// clang-format on

// The same of trellises, of which there are 1 to 6 bits and three numbers of states.
inline constexpr auto kUsualTrellisFormats =
    std::to_array<std::string_view>({"trellis4:l8", "trellis3:l8", "trellis3:l12", "trellis2:l8", "trellis2:l12"});

// Lattices.
inline constexpr auto kLatticeFormats = std::to_array<std::string_view>({"e8p2", "e8p3", "e8p4"});

}  // namespace nibble
