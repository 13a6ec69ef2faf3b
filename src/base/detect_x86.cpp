// SPDX-License-Identifier: Apache-2.0
//
// x86-64: cpuid, and XGETBV for what the system saves.
#include <cpuid.h>

#include <cstring>

#include "base/cpu.h"

namespace nibble {
namespace {

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

// XCR0: which register states the system saves on a context switch.
unsigned long long enabled_states() {
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<unsigned long long>(high) << 32) | low;
}

// Leaf 1: a family of four bits, and eight further ones that are added where those are full.
unsigned family_of(unsigned signature) {
  const unsigned family = signature >> 8 & 15;
  return family == 15 ? family + (signature >> 20 & 255) : family;
}

bool bit(unsigned value, int position) { return ((value >> position) & 1u) != 0; }

std::string vendor_name() {
  const Registers r = cpuid(0, 0);
  char text[12];
  std::memcpy(text, &r.b, 4);
  std::memcpy(text + 4, &r.d, 4);
  std::memcpy(text + 8, &r.c, 4);
  return std::string(text, sizeof text);
}

std::string brand_name() {
  std::string name;
  for (unsigned leaf = 0x80000002u; leaf <= 0x80000004u; ++leaf) {
    const Registers r = cpuid(leaf, 0);
    char text[16];
    std::memcpy(text, &r.a, 4);
    std::memcpy(text + 4, &r.b, 4);
    std::memcpy(text + 8, &r.c, 4);
    std::memcpy(text + 12, &r.d, 4);
    name.append(text, sizeof text);
  }
  name.resize(std::strlen(name.c_str()));
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name;
}

}  // namespace

CpuFeatures detect_cpu() {
  CpuFeatures f;
  const unsigned max_leaf = cpuid(0, 0).a;
  if (max_leaf < 7) return f;
  const Registers basic = cpuid(1, 0), extended = cpuid(7, 0), extended1 = cpuid(7, 1);
  f.vendor = vendor_name();
  f.brand = brand_name();
  f.family = family_of(basic.a);
  if (!bit(basic.c, 27)) return f;  // OSXSAVE: without it no wide registers
  const unsigned long long states = enabled_states();
  const bool ymm = (states & 0x6u) == 0x6u, zmm = ymm && (states & 0xe0u) == 0xe0u;
  f.avx2 = ymm && bit(extended.b, 5);
  f.fma = ymm && bit(basic.c, 12);
  f.f16c = ymm && bit(basic.c, 29);
  f.avx_vnni = ymm && bit(extended1.a, 4);
  f.avx512f = zmm && bit(extended.b, 16);
  f.avx512dq = zmm && bit(extended.b, 17);
  f.avx512bw = zmm && bit(extended.b, 30);
  f.avx512vl = zmm && bit(extended.b, 31);
  f.avx512_vbmi = zmm && bit(extended.c, 1);
  f.gfni = zmm && bit(extended.c, 8);
  f.avx512_vnni = zmm && bit(extended.c, 11);
  f.avx512_vpopcntdq = zmm && bit(extended.c, 14);
  f.avx512_bf16 = zmm && bit(extended1.a, 5);
  return f;
}

}  // namespace nibble
