// SPDX-License-Identifier: Apache-2.0
//
// Vectorised (SIMD) encoders: a format whose row loops are those of an instruction set, the same name, grids, codes and
// bytes as the format itself, sooner. Whatever works through the Format interface (rounders, readers) takes one in the
// place of the other.
//
//   const FormatPtr fast = with_kernels(find_format("q4_k"), Isa::avx512);
//   fast->encode_row(x, {}, nullptr, 0, {}, row);
#pragma once

#include "base/cpu.h"
#include "format/format.h"

namespace nibble {

// The format itself where the set has nothing better. The processor must have the set.
FormatPtr with_kernels(const FormatPtr& format, Isa isa);

}  // namespace nibble
