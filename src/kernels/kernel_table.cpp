// SPDX-License-Identifier: Apache-2.0
#include "kernels/kernel_table.h"

#include "base/cpu.h"
#include "kernels/avx2/parts.h"
#include "kernels/avx512/parts.h"
#include "kernels/avxvnni/parts.h"
#include "kernels/scalar/parts.h"
#include "kernels/select.h"

namespace nibble {

namespace {

using Fill = void (*)(KernelTable&);

KernelTable filled(Fill floats, Fill integers, Fill binary, Fill units) {
  KernelTable table{};
  floats(table);
  integers(table);
  binary(table);
  units(table);
  table.read_ahead = read_ahead(detect_cpu());
  return table;
}

}  // namespace

const KernelTable& kernel_table(Isa isa) {
  static const KernelTable kScalar = filled(scalar::fill_f32, scalar::fill_int8, scalar::fill_binary, scalar::fill_units);
  static const KernelTable kAvx2 = filled(avx2::fill_f32, avx2::fill_int8, avx2::fill_binary, avx2::fill_units);
  static const KernelTable kAvxVnni = filled(avx2::fill_f32, avxvnni::fill_int8, avx2::fill_binary, avx2::fill_units);
  static const KernelTable kAvx512 = [] {
    KernelTable table = filled(avx512::fill_f32, avx512::fill_int8, avx2::fill_binary, avx2::fill_units);
    const CpuFeatures features = detect_cpu();
    if (features.avx512_vbmi && features.gfni) avx512::fill_units(table);
    if (features.avx512_bf16) avx512::fill_bf16(table);
    table.bf16_is_fast = bf16_products(features, Isa::avx512).are_fast;
    if (features.avx512_vpopcntdq) avx512::fill_binary(table);
    return table;
  }();
  switch (isa) {
    case Isa::scalar:
      return kScalar;
    case Isa::avx2:
      return kAvx2;
    case Isa::avxvnni:
      return kAvxVnni;
    case Isa::avx512:
      return kAvx512;
  }
  return kScalar;
}

}  // namespace nibble
