// SPDX-License-Identifier: Apache-2.0
//
// What the system says of this processor, against what it lists for people to read.
#include <gtest/gtest.h>

#include "base/cpu.h"

namespace nibble {
namespace {

TEST(CpuDetection, TellsWhatItRunsOn) {
  const CpuFeatures f = detect_cpu();
  EXPECT_FALSE(f.brand.empty());
  EXPECT_TRUE(f.neon);
  EXPECT_FALSE(f.avx2);
  if (f.i8mm) EXPECT_TRUE(f.dotprod);  // Armv8.6 has all of 8.4
}

}  // namespace
}  // namespace nibble
