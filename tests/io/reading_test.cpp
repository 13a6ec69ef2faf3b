// SPDX-License-Identifier: Apache-2.0
//
// Files that other programs wrote (tests/data/io/make_data.py), shards and split files.
#include <gtest/gtest.h>

#include "file_builder.h"
#include "io/checkpoint.h"

namespace nibble {
namespace {

const std::filesystem::path kData = NIBBLE_SOURCE_DIR "/tests/data/io";

// The values that make_data.py puts into every tensor.
std::vector<float> ramp(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 32) * 0.5f - 8;
  return values;
}

void expect_ramp(const Checkpoint& checkpoint, const std::string& name, const Shape& shape, const std::string& type) {
  const StoredTensor& tensor = checkpoint.tensor(name);
  EXPECT_EQ(tensor.shape, shape) << name;
  EXPECT_EQ(tensor.type_name, type) << name;
  EXPECT_EQ(tensor.data.size(), tensor.bytes) << name;
  ASSERT_TRUE(tensor.values.format()) << name;
  const auto values = tensor.values.decode();
  EXPECT_EQ(values, ramp(values.size())) << name;
}

void expect_no_view(const Checkpoint& checkpoint, const std::string& name, const Shape& shape, const std::string& type,
                    std::uint64_t bytes) {
  const StoredTensor& tensor = checkpoint.tensor(name);
  EXPECT_EQ(tensor.shape, shape) << name;
  EXPECT_EQ(tensor.type_name, type) << name;
  EXPECT_EQ(tensor.bytes, bytes) << name;
  EXPECT_FALSE(tensor.values.format()) << name;
}

TEST(Reading, SafetensorsOfAnotherWriter) {
  const auto checkpoint = Checkpoint::open(kData / "python.safetensors");
  EXPECT_EQ(checkpoint.kind(), ContainerKind::safetensors);
  EXPECT_EQ(checkpoint.config_json(), "");
  EXPECT_EQ(checkpoint.tensors().size(), 10u);
  EXPECT_EQ(checkpoint.file_bytes(), std::filesystem::file_size(kData / "python.safetensors"));
  expect_ramp(checkpoint, "matrix.f32", {6, 8}, "F32");
  expect_ramp(checkpoint, "matrix.f16", {4, 8}, "F16");
  expect_ramp(checkpoint, "stack.f32", {2, 3, 4}, "F32");
  expect_ramp(checkpoint, "vector.f32", {5}, "F32");
  EXPECT_EQ(checkpoint.tensor("stack.f32").values.rows(), 6u);
  EXPECT_EQ(checkpoint.tensor("vector.f32").values.rows(), 1u);
  EXPECT_EQ(checkpoint.tensor("scalar").values.decode(), std::vector<float>{2.5f});
  EXPECT_EQ(checkpoint.tensor("scalar").shape, Shape{});
  expect_no_view(checkpoint, "ids", {7}, "I64", 56);
  expect_no_view(checkpoint, "bytes", {9}, "U8", 9);
  expect_no_view(checkpoint, "flags", {3}, "BOOL", 3);
  expect_no_view(checkpoint, "nothing", {0, 4}, "F32", 0);
  EXPECT_EQ(std::to_integer<int>(checkpoint.tensor("bytes").data[8]), 8);
}

TEST(Reading, GgufOfAnotherWriter) {
  const auto checkpoint = Checkpoint::open(kData / "python.gguf");
  EXPECT_EQ(checkpoint.kind(), ContainerKind::gguf);
  EXPECT_EQ(checkpoint.tensors().size(), 6u);
  expect_ramp(checkpoint, "matrix.f32", {6, 8}, "F32");
  expect_ramp(checkpoint, "matrix.f16", {4, 8}, "F16");
  expect_ramp(checkpoint, "vector.f32", {5}, "F32");
  expect_ramp(checkpoint, "experts.f32", {2, 3, 4}, "F32");
  EXPECT_EQ(checkpoint.tensor("experts.f32").values.rows(), 6u);
  expect_no_view(checkpoint, "ids", {7}, "I32", 28);
  const auto exact = checkpoint.tensor("matrix.q8_0").values.decode();
  ASSERT_EQ(exact.size(), 128u);
  for (std::size_t i = 0; i < exact.size(); ++i)
    EXPECT_EQ(exact[i], std::min(static_cast<float>(i % 32) * 8 - 121, 127.0f)) << i;
}

TEST(Reading, GgufMetadataOfAnotherWriter) {
  const auto checkpoint = Checkpoint::open(kData / "python.gguf");
  const GgufMetadata& metadata = checkpoint.gguf();
  EXPECT_EQ(metadata.string("general.architecture"), "llama");
  EXPECT_EQ(metadata.unsigned_integer("t.u8"), 200u);
  EXPECT_EQ(metadata.number("t.i8"), -100.0);
  EXPECT_EQ(metadata.unsigned_integer("t.u16"), 60000u);
  EXPECT_EQ(metadata.number("t.i16"), -30000.0);
  EXPECT_EQ(metadata.unsigned_integer("t.u32"), 4000000000u);
  EXPECT_EQ(metadata.number("t.i32"), -2000000000.0);
  EXPECT_EQ(metadata.unsigned_integer("t.u64"), (std::uint64_t{1} << 63) + 1);
  EXPECT_EQ(std::get<std::int64_t>(metadata.find("t.i64")->value), -(std::int64_t{1} << 62));
  EXPECT_EQ(metadata.number("t.f32"), static_cast<double>(0.1f));
  EXPECT_EQ(metadata.number("t.f64"), 0.1);
  EXPECT_EQ(metadata.boolean("t.yes"), true);
  EXPECT_EQ(metadata.boolean("t.no"), false);
  EXPECT_EQ(metadata.string("t.text"), "größe");
  ASSERT_NE(metadata.strings("t.strings"), nullptr);
  EXPECT_EQ(*metadata.strings("t.strings"), (std::vector<std::string>{"", "a", "bc"}));
  EXPECT_EQ(metadata.numbers("t.ints"), (std::vector<double>{1, -2, 3}));
  EXPECT_EQ(metadata.numbers("t.floats"), (std::vector<double>{0.5, -1.5}));
  EXPECT_EQ(std::get<GgufArray>(metadata.find("t.bools")->value).element, GgufType::boolean);
  EXPECT_EQ(metadata.find("t.u16")->type, GgufType::u16);
}

TEST(Reading, TheContentDecidesNotTheName) {
  const TemporaryDirectory directory;
  EXPECT_EQ(Checkpoint::open(directory.write("a.bin", read_file(kData / "python.gguf"))).kind(), ContainerKind::gguf);
  EXPECT_EQ(Checkpoint::open(directory.write("b.bin", read_file(kData / "python.safetensors"))).kind(),
            ContainerKind::safetensors);
}

TEST(Reading, DirectoryWithSideFiles) {
  const TemporaryDirectory directory;
  directory.write("model.safetensors", read_file(kData / "python.safetensors"));
  EXPECT_EQ(Checkpoint::open(directory.path()).config_json(), "");  // not this room's to miss
  directory.write("config.json", R"({"model_type":"llama"})");
  directory.write("tokenizer.json", "{}");
  const auto checkpoint = Checkpoint::open(directory.path());
  EXPECT_EQ(checkpoint.kind(), ContainerKind::huggingface);
  EXPECT_EQ(checkpoint.config_json(), R"({"model_type":"llama"})");
  EXPECT_EQ(checkpoint.read_side_file("tokenizer.json"), "{}");
  EXPECT_EQ(checkpoint.read_side_file("generation_config.json"), std::nullopt);
  EXPECT_THROW(checkpoint.read_side_file("../config.json"), Error);
  EXPECT_EQ(checkpoint.find("absent"), nullptr);
  EXPECT_EQ(error_of([&] { checkpoint.tensor("absent"); }, directory.path()), "FILE: tensor 'absent' is missing");
}

TEST(Reading, ShardsInTheOrderOfTheirNames) {
  const TemporaryDirectory directory;
  const auto shard = [](const std::string& name) {
    return safetensors_file(R"({")" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  };
  directory.write("model-00001-of-00002.safetensors", shard("z"));
  directory.write("model-00002-of-00002.safetensors", shard("a"));
  directory.write("model.safetensors.index.json",
                  R"({"weight_map":{"a":"model-00002-of-00002.safetensors","z":"model-00001-of-00002.safetensors"}})");
  const auto checkpoint = Checkpoint::open(directory.path());
  ASSERT_EQ(checkpoint.tensors().size(), 2u);
  EXPECT_EQ(checkpoint.tensors()[0].name, "z");
  EXPECT_EQ(checkpoint.tensors()[1].file, "model-00002-of-00002.safetensors");
  checkpoint.will_need(checkpoint.tensors()[1]);
  checkpoint.release(checkpoint.tensors()[1]);
  EXPECT_EQ(checkpoint.tensors()[1].values.decode(), (std::vector<float>{0, 0}));
}

Bytes split_items(std::uint16_t number, std::uint16_t count, std::int32_t total) {
  return Bytes()
      .string("split.no")
      .u32(2)
      .u16(number)
      .string("split.count")
      .u32(2)
      .u16(count)
      .string("split.tensors.count")
      .u32(5)
      .put(total);
}

std::string split_part(std::uint16_t number, std::uint16_t count, const std::string& tensor, std::int32_t total = 2) {
  return gguf_file(3, split_items(number, count, total).text(), {{tensor, {4}, 0, 0}}, 32);
}

TEST(Reading, SplitGguf) {
  const TemporaryDirectory directory;
  const auto first = directory.write("m-00001-of-00002.gguf", split_part(0, 2, "a"));
  const auto second = directory.write("m-00002-of-00002.gguf", split_part(1, 2, "b"));
  const auto checkpoint = Checkpoint::open(first);
  ASSERT_EQ(checkpoint.tensors().size(), 2u);
  EXPECT_EQ(checkpoint.tensor("b").file, "m-00002-of-00002.gguf");
  EXPECT_EQ(checkpoint.file_bytes(), std::filesystem::file_size(first) + std::filesystem::file_size(second));

  const auto message = [&] { return error_of([&] { Checkpoint::open(first); }, directory.path()); };
  EXPECT_EQ(error_of([&] { Checkpoint::open(second); }, second),
            "FILE: part 2 of 2 of a split file; open the first part");
  directory.write("m-00002-of-00002.gguf", split_part(1, 2, "a"));
  EXPECT_EQ(message(), "FILE/m-00001-of-00002.gguf: tensor 'a' appears in two parts, again in m-00002-of-00002.gguf");
  directory.write("m-00002-of-00002.gguf", split_part(0, 2, "b"));
  EXPECT_EQ(message(),
            "FILE/m-00002-of-00002.gguf: should be part 2 of 2 of a split file but says otherwise: split.no 0, "
            "split.count 2");
  std::filesystem::remove(second);
  EXPECT_EQ(message(), "FILE/m-00002-of-00002.gguf: cannot read: No such file or directory");
  directory.write("m-00002-of-00002.gguf", split_part(1, 2, "b"));
  directory.write("m-00001-of-00002.gguf", split_part(0, 2, "a", 3));
  EXPECT_EQ(message(), "FILE/m-00001-of-00002.gguf: the parts should hold 3 tensors but hold 2");
  const auto renamed = directory.write("model.gguf", split_part(0, 2, "a"));
  EXPECT_EQ(error_of([&] { Checkpoint::open(renamed); }, renamed),
            "FILE: first of 2 parts, but its name does not end in -00001-of-00002.gguf; rename the parts back");
}

TEST(Reading, GgufVersion2AndOddAlignments) {
  const TemporaryDirectory directory;
  const std::string items = Bytes().string("general.alignment").u32(4).u32(64).text();
  std::string bytes = gguf_file(1, items, {{"a", {4}, 0, 0}, {"b", {3, 1, 1, 1}, 0, 64}}, 64 + 12, 64);
  bytes[4] = 2;
  const auto checkpoint = Checkpoint::open(directory.write("v2.gguf", bytes));
  EXPECT_EQ(checkpoint.tensor("b").shape, Shape{3});  // 1s on the outside say nothing
  EXPECT_EQ(checkpoint.tensor("b").offset % 64, 0u);
}

TEST(Reading, GgufTypesThatCannotBeDecodedAreListed) {
  const TemporaryDirectory directory;
  const auto checkpoint = Checkpoint::open(
      directory.write("m.gguf", gguf_file(0, "", {{"w", {256, 2}, 15, 0}, {"i", {3}, 24, 608}}, 608 + 3)));
  EXPECT_EQ(checkpoint.tensor("w").type_name, "Q8_K");
  EXPECT_EQ(checkpoint.tensor("w").bytes, 584u);
  EXPECT_FALSE(checkpoint.tensor("w").values.format());
  EXPECT_EQ(checkpoint.tensor("i").dtype, DType::i8);
}

}  // namespace
}  // namespace nibble
