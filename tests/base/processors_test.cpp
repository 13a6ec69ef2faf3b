// SPDX-License-Identifier: Apache-2.0
#include "base/processors.h"

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "base/scratch_directory.h"

namespace nibble {
namespace {

class Quota : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = scratch_.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::optional<std::size_t> quota(std::string_view membership) const {
    return quota_processors(scratch_.path(), membership);
  }

  ScratchDirectory scratch_;
};

TEST_F(Quota, NoneWhereNothingIsSaid) {
  EXPECT_EQ(quota(""), std::nullopt);
  EXPECT_EQ(quota("0::/\n"), std::nullopt);
  write("cpu.max", "max 100000\n");
  EXPECT_EQ(quota("0::/\n"), std::nullopt);
  write("cpu.max", "garbage\n");
  EXPECT_EQ(quota("0::/\nnonsense\n:\n"), std::nullopt);
}

TEST_F(Quota, WholeProcessorsRoundedDownAndAtLeastOne) {
  write("cpu.max", "400000 100000\n");
  EXPECT_EQ(quota("0::/"), 4u);
  write("cpu.max", "399999 100000\n");
  EXPECT_EQ(quota("0::/"), 3u);
  write("cpu.max", "20000 100000\n");
  EXPECT_EQ(quota("0::/"), 1u);
}

TEST_F(Quota, TheTightestOfAGroupAndThoseAboveIt) {
  write("outer/cpu.max", "200000 100000\n");
  write("outer/inner/cpu.max", "800000 100000\n");
  EXPECT_EQ(quota("0::/outer/inner\n"), 2u);
  write("outer/inner/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota("0::/outer/inner\n"), 1u);
  EXPECT_EQ(quota("0::/other\n"), std::nullopt);
}

TEST_F(Quota, VersionOneLiesUnderItsControllers) {
  write("cpu,cpuacct/job/cpu.cfs_quota_us", "300000\n");
  write("cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota("5:memory:/job\n4:cpu,cpuacct:/job\n"), 3u);
  EXPECT_EQ(quota("5:memory:/job\n4:cpuset:/job\n"), std::nullopt);
  write("cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(quota("4:cpu,cpuacct:/job\n"), std::nullopt);
}

TEST(Processors, SomeAreAvailableAndAThreadCanBePinnedToEach) {
  const std::vector<int> mask = affinity_mask();
  EXPECT_GE(available_processors(), 1u);
  EXPECT_LE(available_processors(), mask.size());
  for (const int processor : mask)
    std::thread([processor] {
      pin_this_thread(processor);
      EXPECT_EQ(affinity_mask(), std::vector<int>{processor});
    }).join();
  EXPECT_EQ(affinity_mask(), mask);
}

}  // namespace
}  // namespace nibble
