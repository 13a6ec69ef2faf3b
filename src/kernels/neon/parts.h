// SPDX-License-Identifier: Apache-2.0
//
// The files of this set fill one table together.
#pragma once

#include "kernels/kernel_table.h"

namespace nibble::neon {

void fill_f32(KernelTable& table);
void fill_int8(KernelTable& table);
void fill_binary(KernelTable& table);

}  // namespace nibble::neon
