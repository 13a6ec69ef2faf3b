// SPDX-License-Identifier: Apache-2.0
#include "base/shard_name.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

TEST(ShardName, IsReadAsItIsWritten) {
  for (const char* name : {"model-00001-of-00003.safetensors", "m-00003-of-00003.gguf",
                           "a-of-b-00002-of-00010.gguf.bak", "-00001-of-00001", "x-99999-of-99999.gguf"}) {
    const auto shard = parse_shard_name(name);
    ASSERT_TRUE(shard) << name;
    EXPECT_EQ(shard_name(*shard), name);
  }
  const ShardName shard = parse_shard_name("model-q4-00012-of-00345.gguf").value();
  EXPECT_EQ(shard.prefix, "model-q4");
  EXPECT_EQ(shard.number, 12u);
  EXPECT_EQ(shard.count, 345u);
  EXPECT_EQ(shard.ending, ".gguf");
}

TEST(ShardName, OtherNamesAreNone) {
  for (const char* name :
       {"", "model.safetensors", "-of-", "m-00001-of-", "m-00001-of-0003.gguf", "m-0001-of-00003.gguf",
        "m00001-of-00003.gguf", "m-00000-of-00003.gguf", "m-00004-of-00003.gguf", "m-00001-of-000031.gguf",
        "m-0000a-of-00003.gguf", "m-00001-of-0000/.gguf"})
    EXPECT_FALSE(parse_shard_name(name)) << name;
}

}  // namespace
}  // namespace nibble
