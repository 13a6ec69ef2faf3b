// SPDX-License-Identifier: Apache-2.0
#include "kernels/select.h"

#include "kernels/scalar/parts.h"

namespace nibble {

KernelTable filled_table(FillTable floats, FillTable integers, FillTable binary, FillTable units) {
  KernelTable table{};
  floats(table);
  integers(table);
  binary(table);
  units(table);
  table.read_ahead = read_ahead(detect_cpu());
  return table;
}

const KernelTable& scalar_table() {
  static const KernelTable table =
      filled_table(scalar::fill_f32, scalar::fill_int8, scalar::fill_binary, scalar::fill_units);
  return table;
}

}  // namespace nibble
