// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <gtest/gtest.h>

#include "base/scratch_directory.h"

namespace nibble {
namespace {

TEST(Memory, CachedFilesAreNotInTheWay) {
  ScratchDirectory group;
  group.write("memory.max", "1000000\n");
  group.write("memory.current", "900000\n");
  EXPECT_EQ(memory_left_in_group(group.path()), 100000u);  // older systems have no statistics
  group.write("memory.stat",
              "anon 150000\nfile 750000\ninactive_anon 7\ninactive_file 500000\nactive_file 200000\nslab 3\n");
  EXPECT_EQ(memory_left_in_group(group.path()), 800000u);
}

TEST(Memory, AGroupBeyondItsLimitLeavesNothing) {
  ScratchDirectory group;
  group.write("memory.max", "1000\n");
  group.write("memory.current", "5000\n");
  group.write("memory.stat", "inactive_file 100\nactive_file 0\n");
  EXPECT_EQ(memory_left_in_group(group.path()), 0u);
  group.write("memory.stat", "inactive_file 100000\nactive_file 0\n");  // counted at another moment than the whole
  EXPECT_EQ(memory_left_in_group(group.path()), 1000u);
}

TEST(Memory, NoGroupAndNoLimitSayNothing) {
  ScratchDirectory group;
  EXPECT_EQ(memory_left_in_group(group.path()), std::nullopt);
  group.write("memory.max", "max\n");
  group.write("memory.current", "900000\n");
  EXPECT_EQ(memory_left_in_group(group.path()), std::nullopt);
  EXPECT_GT(available_memory(), 0u);
}

}  // namespace
}  // namespace nibble
