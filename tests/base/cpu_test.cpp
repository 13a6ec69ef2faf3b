// SPDX-License-Identifier: Apache-2.0
#include "base/cpu.h"

#include <gtest/gtest.h>

#include "nibble/error.h"

namespace nibble {
namespace {

CpuFeatures haswell() {
  CpuFeatures f;
  f.avx2 = f.fma = f.f16c = true;
  return f;
}

CpuFeatures ice_lake() {
  CpuFeatures f = haswell();
  f.avx512f = f.avx512bw = f.avx512dq = f.avx512vl = f.avx512_vnni = true;
  return f;
}

TEST(Cpu, BestSetFollowsFeatures) {
  EXPECT_EQ(best_isa({}), Isa::scalar);
  EXPECT_EQ(best_isa(haswell()), Isa::avx2);
  EXPECT_EQ(best_isa(ice_lake()), Isa::avx512);
  CpuFeatures alder_lake = haswell();
  alder_lake.avx_vnni = true;
  EXPECT_EQ(best_isa(alder_lake), Isa::avxvnni);
  CpuFeatures skylake_x = ice_lake();
  skylake_x.avx512_vnni = false;
  EXPECT_EQ(best_isa(skylake_x), Isa::avx2);
}

TEST(Cpu, SetsOfOneKindOfProcessorAreNotOfAnother) {
  CpuFeatures cortex_a72;
  cortex_a72.neon = true;
  EXPECT_EQ(best_isa(cortex_a72), Isa::neon);
  CpuFeatures neoverse_n1 = cortex_a72;
  neoverse_n1.dotprod = true;
  EXPECT_EQ(best_isa(neoverse_n1), Isa::neon_dot);
  CpuFeatures neoverse_v1 = neoverse_n1;
  neoverse_v1.i8mm = true;
  EXPECT_EQ(best_isa(neoverse_v1), Isa::neon_i8mm);
  EXPECT_EQ(choose_isa(neoverse_v1, "neon_dot"), Isa::neon_dot);
  CpuFeatures m2 = neoverse_v1;
  m2.vendor = "Apple";
  EXPECT_EQ(best_isa(m2), Isa::neon_dot);
  EXPECT_EQ(choose_isa(m2, "neon_i8mm"), Isa::neon_i8mm);
  EXPECT_THROW(choose_isa(neoverse_v1, "avx2"), Error);
  EXPECT_THROW(choose_isa(neoverse_n1, "neon_i8mm"), Error);
  EXPECT_THROW(choose_isa(ice_lake(), "neon_dot"), Error);
}

TEST(Cpu, Bf16ProductsAreFastWhereTheyAreIssuedAsOftenAsOthers) {
  CpuFeatures zen4 = ice_lake();
  zen4.avx512_bf16 = true;
  zen4.vendor = "AuthenticAMD";
  EXPECT_TRUE(bf16_products(zen4, Isa::avx512).are_fast);
  EXPECT_FALSE(bf16_products(zen4, Isa::avx2).are_fast);
  CpuFeatures sapphire_rapids = zen4;
  sapphire_rapids.vendor = "GenuineIntel";
  EXPECT_FALSE(bf16_products(sapphire_rapids, Isa::avx512).are_fast);
  EXPECT_NE(bf16_products(sapphire_rapids, Isa::avx512).reason, bf16_products(ice_lake(), Isa::avx512).reason);
  EXPECT_FALSE(bf16_products(ice_lake(), Isa::avx512).are_fast);
}

TEST(Cpu, LinesAreAskedForWhereProcessorsFallBehind) {
  CpuFeatures zen4 = ice_lake();
  zen4.vendor = "AuthenticAMD";
  zen4.family = 0x19;
  EXPECT_EQ(read_ahead(zen4).packed, 0U);
  CpuFeatures zen5 = zen4;
  zen5.family = 0x1a;
  EXPECT_GT(read_ahead(zen5).packed, 0U);
  EXPECT_EQ(read_ahead(zen5).whole, 0U);
  CpuFeatures xeon = ice_lake();
  xeon.vendor = "GenuineIntel";
  xeon.family = 6;
  EXPECT_GT(read_ahead(xeon).whole, 0U);
  EXPECT_EQ(read_ahead(haswell()).packed, 0U);
}

TEST(Cpu, OverrideIsJudged) {
  EXPECT_EQ(choose_isa(ice_lake(), ""), Isa::avx512);
  EXPECT_EQ(choose_isa(ice_lake(), "scalar"), Isa::scalar);
  EXPECT_EQ(choose_isa(ice_lake(), "avx2"), Isa::avx2);
  EXPECT_THROW(choose_isa(ice_lake(), "avxvnni"), Error);  // AVX-512 VNNI does not imply the VEX form
  EXPECT_THROW(choose_isa(haswell(), "avx512"), Error);
  EXPECT_THROW(choose_isa(haswell(), "sse"), Error);
}

TEST(Cpu, NamesRoundTrip) {
  for (const Isa isa : all_isas()) EXPECT_EQ(parse_isa(isa_name(isa)), isa);
  EXPECT_FALSE(parse_isa("AVX2"));
}

}  // namespace
}  // namespace nibble
