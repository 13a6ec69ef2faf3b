// SPDX-License-Identifier: Apache-2.0
//
// CNT counts the ones of every byte; neighbours are added until there is one number for every 64 bits.
#include <arm_neon.h>

#include "kernels/lanes/binary_product.h"
#include "kernels/neon/parts.h"

namespace nibble::neon {
namespace {

struct Words {
  uint64x2_t a, b, c, d;
  static Words set(std::uint64_t x) {
    const uint64x2_t all = vdupq_n_u64(x);
    return {all, all, all, all};
  }
  static Words load(const std::uint64_t* p) {
    return {vld1q_u64(p), vld1q_u64(p + 2), vld1q_u64(p + 4), vld1q_u64(p + 6)};
  }
  void store_narrow(std::uint32_t* p) const {
    vst1q_u32(p, vmovn_high_u64(vmovn_u64(a), b));
    vst1q_u32(p + 4, vmovn_high_u64(vmovn_u64(c), d));
  }
};
inline Words add(Words x, Words y) {
  return {vaddq_u64(x.a, y.a), vaddq_u64(x.b, y.b), vaddq_u64(x.c, y.c), vaddq_u64(x.d, y.d)};
}
inline Words exclusive_or(Words x, Words y) {
  return {veorq_u64(x.a, y.a), veorq_u64(x.b, y.b), veorq_u64(x.c, y.c), veorq_u64(x.d, y.d)};
}
inline uint64x2_t count_part(uint64x2_t x) {
  return vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vcntq_u8(vreinterpretq_u8_u64(x)))));
}
inline Words count_ones(Words x) { return {count_part(x.a), count_part(x.b), count_part(x.c), count_part(x.d)}; }

}  // namespace

void fill_binary(KernelTable& table) { table.binary_product = lanes::binary_product<Words, 2, 2>; }

}  // namespace nibble::neon
