// SPDX-License-Identifier: Apache-2.0
//
// Floating-point elements as they are. The code of an element is its bit pattern; there is no grid.
#pragma once

#include "format/format.h"

namespace nibble {

FormatPtr make_raw_format(DType dtype);  // f32, f16 or bf16; null for others

}  // namespace nibble
