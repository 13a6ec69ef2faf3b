// SPDX-License-Identifier: Apache-2.0
//
// The files of this set fill one table together.
#pragma once

#include "kernels/kernel_table.h"

namespace nibble::neon_dot {

void fill_int8(KernelTable& table);

}  // namespace nibble::neon_dot
