// SPDX-License-Identifier: Apache-2.0
//
// Plain C++: the reference.
#include "kernels/lanes/binary_product.h"
#include "kernels/scalar/parts.h"

namespace nibble::scalar {
namespace {

struct Words {
  std::uint64_t v[8];
  static Words set(std::uint64_t x) { return {{x, x, x, x, x, x, x, x}}; }
  static Words load(const std::uint64_t* p) { return {{p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]}}; }
  void store_narrow(std::uint32_t* p) const {
    for (int i = 0; i < 8; ++i) p[i] = static_cast<std::uint32_t>(v[i]);
  }
};
inline Words add(Words a, Words b) {
  for (int i = 0; i < 8; ++i) a.v[i] += b.v[i];
  return a;
}
inline Words exclusive_or(Words a, Words b) {
  for (int i = 0; i < 8; ++i) a.v[i] ^= b.v[i];
  return a;
}
// Ones of every 2, 4 and 8 bits side by side, then all bytes by one multiplication.
inline Words count_ones(Words a) {
  for (std::uint64_t& x : a.v) {
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u) >> 56;
  }
  return a;
}

}  // namespace

void fill_binary(KernelTable& table) { table.binary_product = lanes::binary_product<Words, 1, 1>; }

}  // namespace nibble::scalar
