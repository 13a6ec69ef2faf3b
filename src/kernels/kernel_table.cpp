// SPDX-License-Identifier: Apache-2.0
#include "kernels/kernel_table.h"

#include "base/cpu.h"
#include "kernels/avx2/parts.h"
#include "kernels/avx512/parts.h"
#include "kernels/scalar/parts.h"
#include "kernels/select.h"

namespace nibble {

namespace scalar {
const KernelTable& table() {
  static const KernelTable filled = [] {
    KernelTable t{};
    fill_f32(t);
    return t;
  }();
  return filled;
}
}  // namespace scalar

namespace avx2 {
const KernelTable& table() {
  static const KernelTable filled = [] {
    KernelTable t{};
    fill_f32(t);
    return t;
  }();
  return filled;
}
}  // namespace avx2

namespace avxvnni {
const KernelTable& table() {
  static const KernelTable filled = [] {
    KernelTable t = avx2::table();
    return t;
  }();
  return filled;
}
}  // namespace avxvnni

namespace avx512 {
const KernelTable& table() {
  static const KernelTable filled = [] {
    KernelTable t{};
    fill_f32(t);
    return t;
  }();
  return filled;
}
}  // namespace avx512

const KernelTable& kernel_table(Isa isa) {
  switch (isa) {
    case Isa::scalar: return scalar::table();
    case Isa::avx2: return avx2::table();
    case Isa::avxvnni: return avxvnni::table();
    case Isa::avx512: return avx512::table();
  }
  return scalar::table();
}

}  // namespace nibble
