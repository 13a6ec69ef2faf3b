// SPDX-License-Identifier: Apache-2.0
//
// Trellises (format/trellis) as integer products read them. A panel of 64 rows is what the format stores of them: tiles
// of 4 columns, one behind the other, whose symbols come in the order in which a quad of columns has its operands
// (integer_shape.h). An operand is its symbol's value plus `middle`.
//
//   const TrellisOperands operands = trellis_operands({.state_bits = 8, .code_bits = 2});
//   trellis_kernels(machine.isa).decode(operands, tiles, 64, panel);  // kTileSlack bytes of memory behind 64 tiles
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "format/trellis/trellis_shape.h"
#include "kernels/linear/integer_shape.h"
#include "kernels/linear/tile_vector.h"

namespace nibble {

// Bytes behind the last tile that kernels may read, and that mean nothing.
inline constexpr std::size_t kTileSlack = 64;

struct TrellisOperands {
  TrellisShape shape;
  std::int32_t middle = 0;
  const std::uint8_t* table = nullptr;   // [256]; null where operands are computed: the sum of four bytes
  const std::uint16_t* pairs = nullptr;  // of two neighbouring symbols: [256 << code_bits], the first in the low byte
};

// Those of a shape; tables are made when they are first asked for, and stay.
TrellisOperands trellis_operands(const TrellisShape& shape);

// Tiles of both functions have kTileSlack readable bytes behind the last.
struct TrellisKernels {
  const char* name;  // of the instructions
  // Operands of `quads` tiles: panel [quads, 64, 4].
  void (*decode)(const TrellisOperands& operands, const std::uint8_t* tiles, std::size_t quads, std::uint8_t* panel);
  // Null where panels that are decoded first serve single tokens as well.
  void (*vector)(const TrellisOperands& operands, const TileVector& product);
};

// Those of a set on a processor with these features, which include the set's own.
const TrellisKernels& trellis_kernels(Isa isa, const CpuFeatures& features);
// On this processor, which must have the set.
const TrellisKernels& trellis_kernels(Isa isa);

namespace scalar {
extern const TrellisKernels kTrellisKernels;
}
namespace avx2 {
extern const TrellisKernels kTrellisKernels;
}
namespace avx512 {
extern const TrellisKernels kTrellisKernels;  // only where the processor has AVX512_VBMI and GFNI
}
namespace neon {
extern const TrellisKernels kTrellisKernels;
}

}  // namespace nibble
