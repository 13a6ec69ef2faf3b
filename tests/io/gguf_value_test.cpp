// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "file_builder.h"
#include "io/gguf/gguf_value.h"

namespace nibble {
namespace {

std::string message_of(const std::function<void()>& act) { return error_of(act, "no such path"); }

TEST(GgufMetadata, KeepsOrderReplacesAndErases) {
  GgufMetadata metadata;
  metadata.set("b", GgufValue::of_u32(1));
  metadata.set("a", GgufValue::of_string("x"));
  metadata.set("b", GgufValue::of_i32(-2));
  ASSERT_EQ(metadata.items().size(), 2u);
  EXPECT_EQ(metadata.items()[0].key, "b");
  EXPECT_EQ(metadata.find("b")->type, GgufType::i32);
  metadata.erase("b");
  EXPECT_EQ(metadata.find("b"), nullptr);
  EXPECT_EQ(metadata.items().size(), 1u);
}

TEST(GgufMetadata, AnyWidthOfTheKindAskedFor) {
  GgufMetadata metadata;
  metadata.set("i", GgufValue::of_i32(7));
  metadata.set("u", GgufValue::of_u64(8));
  metadata.set("f", GgufValue::of_f32(0.5f));
  EXPECT_EQ(metadata.unsigned_integer("i"), 7u);
  EXPECT_EQ(metadata.number("u"), 8.0);
  EXPECT_EQ(metadata.number("f"), 0.5);
  EXPECT_EQ(metadata.number("absent"), std::nullopt);
  EXPECT_EQ(metadata.strings("absent"), nullptr);
}

TEST(GgufMetadata, AnotherKindIsAnErrorThatNamesBoth) {
  GgufMetadata metadata;
  metadata.set("s", GgufValue::of_string("x"));
  metadata.set("n", GgufValue::of_i32(-1));
  metadata.set("l", GgufValue::of_strings({"a"}));
  metadata.set("f", GgufValue::of_f32s({1}));
  EXPECT_EQ(message_of([&] { metadata.unsigned_integer("s"); }),
            "metadata key 's' should be an integer but is stored as string");
  EXPECT_EQ(message_of([&] { metadata.unsigned_integer("n"); }),
            "metadata key 'n' should not be negative but is -1, stored as i32");
  metadata.set_source("m.gguf");
  EXPECT_EQ(message_of([&] { metadata.boolean("s"); }),
            "m.gguf: metadata key 's' should be a bool but is stored as string");
  metadata.set_source("");
  EXPECT_EQ(message_of([&] { metadata.number("s"); }), "metadata key 's' should be a number but is stored as string");
  EXPECT_EQ(message_of([&] { metadata.boolean("n"); }), "metadata key 'n' should be a bool but is stored as i32");
  EXPECT_EQ(message_of([&] { metadata.string("l"); }),
            "metadata key 'l' should be a string but is stored as array of string");
  EXPECT_EQ(message_of([&] { metadata.strings("f"); }),
            "metadata key 'f' should be an array of strings but is stored as array of f32");
  EXPECT_EQ(message_of([&] { metadata.numbers("l"); }),
            "metadata key 'l' should be an array of numbers but is stored as array of string");
}

}  // namespace
}  // namespace nibble
