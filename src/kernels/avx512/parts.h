// SPDX-License-Identifier: Apache-2.0
//
// The files of this set fill one table together.
#pragma once

#include "kernels/kernel_table.h"

namespace nibble::avx512 {

void fill_f32(KernelTable& table);
void fill_int8(KernelTable& table);
void fill_bf16(KernelTable& table);    // only where the processor has AVX512_BF16
void fill_binary(KernelTable& table);  // only where it has AVX512_VPOPCNTDQ
void fill_units(KernelTable& table);   // only where it has AVX512_VBMI and GFNI

}  // namespace nibble::avx512
