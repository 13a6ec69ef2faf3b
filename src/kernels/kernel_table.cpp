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

KernelTable avx512_table() {
  KernelTable table = filled(avx512::fill_f32, avx512::fill_int8, avx2::fill_binary, avx2::fill_units);
  const CpuFeatures features = detect_cpu();
  if (features.avx512_vbmi && features.gfni) avx512::fill_units(table);
  if (features.avx512_bf16) avx512::fill_bf16(table);
  table.bf16_is_fast = bf16_products(features, Isa::avx512).are_fast;
  if (features.avx512_vpopcntdq) avx512::fill_binary(table);
  return table;
}

}  // namespace

// A set's own functions fill its table, with its instructions: a table is made when it is first asked for, not before,
// or processors without the set would stop at the first one.
const KernelTable& kernel_table(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      break;
    case Isa::avx2: {
      static const KernelTable table = filled(avx2::fill_f32, avx2::fill_int8, avx2::fill_binary, avx2::fill_units);
      return table;
    }
    case Isa::avxvnni: {
      static const KernelTable table = filled(avx2::fill_f32, avxvnni::fill_int8, avx2::fill_binary, avx2::fill_units);
      return table;
    }
    case Isa::avx512: {
      static const KernelTable table = avx512_table();
      return table;
    }
  }
  static const KernelTable table = filled(scalar::fill_f32, scalar::fill_int8, scalar::fill_binary, scalar::fill_units);
  return table;
}

}  // namespace nibble
