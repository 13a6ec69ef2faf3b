// SPDX-License-Identifier: Apache-2.0
//
// What formats are asked for by the roles of matrices. Internal to pipeline/.
#pragma once

#include "format/row_tiles.h"
#include "graph/value.h"

namespace nibble {

// Whether a matrix in this format gives what is asked of one in this role: rows of an embedding are looked up one by
// one.
inline bool serves(const Format& format, TensorRole role) {
  return role != TensorRole::embedding || find_row_tiles(format) == nullptr;
}

}  // namespace nibble
