// SPDX-License-Identifier: Apache-2.0
//
// What the system says of this processor, against what it lists for people to read.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include "base/cpu.h"
#include "base/platform.h"

namespace nibble {
namespace {

TEST(CpuDetection, TellsWhatItRunsOn) {
  const CpuFeatures f = detect_cpu();
  EXPECT_FALSE(f.brand.empty());
  EXPECT_TRUE(f.neon);
  EXPECT_FALSE(f.avx2);
  EXPECT_TRUE(f.dotprod || !f.i8mm);  // Armv8.6 has all of 8.4
}

#if NIBBLE_LINUX
// The words of the first line of features; none where the system has no such line.
std::set<std::string> listed_features() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("Features")) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

// QEMU's user mode may show what the machine that it runs on has, which is no such line.
TEST(CpuDetection, TheSystemListsTheSameFeatures) {
  const CpuFeatures f = detect_cpu();
  const std::set<std::string> listed = listed_features();
  if (listed.empty()) return;
  EXPECT_TRUE(listed.contains("asimd"));
  EXPECT_EQ(f.dotprod, listed.contains("asimddp"));
  EXPECT_EQ(f.i8mm, listed.contains("i8mm"));
  EXPECT_EQ(f.arm_bf16, listed.contains("bf16"));
}
#endif

}  // namespace
}  // namespace nibble
