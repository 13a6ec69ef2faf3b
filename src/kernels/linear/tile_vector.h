// SPDX-License-Identifier: Apache-2.0
//
// A single token times a panel whose rows have one scale each, straight from what is resident of it: tiles of 64 rows
// (trellis_kernels.h, lattice_octets.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear/integer_shape.h"

namespace nibble {

// y[64]. The arithmetic of IntegerProduct, of one group to a run.
struct TileVector {
  const std::uint8_t* tiles;  // one behind the other
  std::size_t columns;        // padded to kDepthUnit
  const float* scales;        // [64]
  std::size_t run;            // columns that share a scale of the activations
  bool sums_whole_rows;       // in place of runs
  QuantizedActivations x;     // the blocks of the token, one after the other
  std::size_t read_ahead;     // bytes by which lines are asked for before they are read, or 0
  float* y;
  bool accumulate;  // to what y has
};

}  // namespace nibble
