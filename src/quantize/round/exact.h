// SPDX-License-Identifier: Apache-2.0
//
// The same numbers in another format: no rounding but a search for the codes and scales that say them, bit for bit
// (zeros of either sign are one number).
//
//   if (!encode_exactly(*find_format("q5_0"), row, 0, planes, read_back)) refuse();
#pragma once

#include <memory>
#include <span>

#include "quantize/round/rounder.h"

namespace nibble {

// Writes one row of `format`, which must need no grid of a whole tensor, into zeroed planes. False: what the planes now
// hold is not the row; read_back [cols] has it.
bool encode_exactly(const Format& format, std::span<const float> values, std::uint64_t row, const RowPlanes& out,
                    std::span<float> read_back);

// Its rows; Error(unsupported) for one that the format cannot hold exactly.
std::shared_ptr<const Rounder> make_exact_rounder();

}  // namespace nibble
