// SPDX-License-Identifier: Apache-2.0
//
// What cpuid says, against what the compiler's own library makes of it.
#include <gtest/gtest.h>

#include "base/cpu.h"

namespace nibble {
namespace {

TEST(Cpu, CompilerAgreesOnThisProcessor) {
  const CpuFeatures f = detect_cpu();
  EXPECT_EQ(f.vendor == "AuthenticAMD", __builtin_cpu_is("amd") != 0);
  EXPECT_EQ(f.vendor == "GenuineIntel", __builtin_cpu_is("intel") != 0);
  EXPECT_EQ(f.vendor == "AuthenticAMD" && f.family == 0x17, __builtin_cpu_is("amdfam17h") != 0);
  EXPECT_EQ(f.vendor == "AuthenticAMD" && f.family == 0x19, __builtin_cpu_is("amdfam19h") != 0);
  EXPECT_EQ(f.avx2, __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(f.fma, __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(f.avx512f, __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(f.avx512_vnni, __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(f.avx512_vbmi, __builtin_cpu_supports("avx512vbmi") != 0);
  EXPECT_EQ(f.avx512_vpopcntdq, __builtin_cpu_supports("avx512vpopcntdq") != 0);
  EXPECT_EQ(f.gfni, f.avx512f && __builtin_cpu_supports("gfni") != 0);
}

}  // namespace
}  // namespace nibble
