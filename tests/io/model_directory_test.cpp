// SPDX-License-Identifier: Apache-2.0
//
// Directories that hold a model in a form other than the plainest, and what is read of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "file_builder.h"
#include "io/checkpoint.h"

namespace nibble {
namespace {

constexpr const char* kIndex = "model.safetensors.index.json";

// Tensors of F32 [1] with the values given.
std::string tensors(const std::vector<std::pair<std::string, float>>& values) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  Bytes data;
  std::size_t offset = 0;
  for (const auto& [name, value] : values) {
    header[name] = {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {offset, offset + 4}}};
    data.put(value);
    offset += 4;
  }
  const std::string text = header.dump();
  return Bytes().u64(text.size()).raw(text).raw(data.text()).text();
}

std::vector<std::string> names_of(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const StoredTensor& tensor : checkpoint.tensors()) names.push_back(tensor.name);
  std::ranges::sort(names);
  return names;
}

float value_of(const Checkpoint& checkpoint, std::string_view name) {
  return checkpoint.tensor(name).values.decode().at(0);
}

std::string index_of(const std::string& weight_map) { return R"({"weight_map":)" + weight_map + "}"; }

using Names = std::vector<std::string>;

TEST(ModelDirectory, ShardsWhoseNamesSayThatAllAreHereNeedNoIndex) {
  const TemporaryDirectory directory;
  directory.write("model-00001-of-00002.safetensors", tensors({{"a", 1.0f}}));
  directory.write("model-00002-of-00002.safetensors", tensors({{"b", 2.0f}}));
  EXPECT_EQ(names_of(Checkpoint::open(directory.path())), (Names{"a", "b"}));
  directory.write("other-00001-of-00001.safetensors", tensors({{"c", 3.0f}}));
  EXPECT_NE(error_of([&] { Checkpoint::open(directory.path()); }, directory.path())
                .find("holds two sets of shards and no index"),
            std::string::npos);
}

TEST(ModelDirectory, AnIndexMayListWhatNoShardHas) {
  const TemporaryDirectory directory;
  directory.write(kIndex, index_of(R"({"a":"x.safetensors","mtp.fc.weight":"x.safetensors"})"));
  directory.write("x.safetensors", tensors({{"a", 1.0f}, {"unlisted", 2.0f}}));
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  EXPECT_EQ(names_of(checkpoint), (Names{"a", "unlisted"}));
  EXPECT_EQ(
      error_of([&] { checkpoint.tensor("mtp.fc.weight"); }, directory.path()),
      "FILE: tensor 'mtp.fc.weight' is missing; the index says that it is in 'x.safetensors', which does not hold it");
  EXPECT_EQ(error_of([&] { checkpoint.tensor("b"); }, directory.path()), "FILE: tensor 'b' is missing");
  EXPECT_EQ(error_of([&] { checkpoint.tensor("model.b"); }, directory.path()),
            "FILE: tensor 'model.b' is missing; no name here begins with 'model.'; the first is 'a'");
}

TEST(ModelDirectory, OfTwoCopiesTheIndexMeansOne) {
  for (const char* meant : {"x.safetensors", "y.safetensors"}) {
    const TemporaryDirectory directory;
    directory.write(kIndex, index_of(fmt::format(R"({{"a":"{}","b":"x.safetensors","c":"y.safetensors"}})", meant)));
    directory.write("x.safetensors", tensors({{"a", 1.0f}, {"b", 2.0f}}));
    directory.write("y.safetensors", tensors({{"a", 3.0f}, {"c", 4.0f}}));
    const Checkpoint checkpoint = Checkpoint::open(directory.path());
    EXPECT_EQ(names_of(checkpoint), (Names{"a", "b", "c"}));
    EXPECT_EQ(checkpoint.tensor("a").file, meant);
    EXPECT_EQ(value_of(checkpoint, "a"), meant[0] == 'x' ? 1.0f : 3.0f);
    EXPECT_EQ(value_of(checkpoint, "c"), 4.0f);
  }
}

TEST(ModelDirectory, AnIndexWithoutAnyOfItsShardsIsLeftFromBefore) {
  const TemporaryDirectory directory;
  directory.write(kIndex, index_of(R"({"a":"model-00001-of-00001.safetensors"})"));
  directory.write("model.safetensors", tensors({{"a", 1.0f}}));
  EXPECT_EQ(value_of(Checkpoint::open(directory.path()), "a"), 1.0f);
  directory.write(kIndex, index_of(R"({"a":"model.safetensors"})"));  // an index of one file
  EXPECT_EQ(value_of(Checkpoint::open(directory.path()), "a"), 1.0f);
}

TEST(ModelDirectory, AHubCacheIsFollowedToItsSnapshot) {
  const TemporaryDirectory directory;
  directory.write("refs/main", "abc\n");
  directory.write("snapshots/abc/model.safetensors", tensors({{"a", 1.0f}}));
  directory.write("snapshots/abc/config.json", R"({"x":1})");
  directory.write("snapshots/def/model.safetensors", tensors({{"b", 1.0f}}));
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  EXPECT_EQ(names_of(checkpoint), Names{"a"});
  EXPECT_EQ(checkpoint.read_side_file("config.json"), R"({"x":1})");
  std::filesystem::remove_all(directory.path() / "refs");
  std::filesystem::remove_all(directory.path() / "snapshots/abc");
  EXPECT_EQ(names_of(Checkpoint::open(directory.path())), Names{"b"});  // the only one
}

// Another snapshot is another model, and nobody asked for that one.
TEST(ModelDirectory, AHubCacheWithoutTheSnapshotThatItNames) {
  const TemporaryDirectory directory;
  const auto message = [&] { return error_of([&] { Checkpoint::open(directory.path()); }, directory.path()); };
  directory.write("refs/main", "abc");
  directory.write("snapshots/def/model.safetensors", tensors({{"b", 1.0f}}));
  const std::string advice =
      "; download the model again, or give the path of a snapshot that is here: FILE/snapshots/def";
  EXPECT_EQ(message(), "FILE/refs/main: names the snapshot 'abc', which is not there" + advice);
  directory.write("refs/main", "../def\n");
  EXPECT_EQ(message(), "FILE/refs/main: names the snapshot '../def', which is not there" + advice);
  directory.write("refs/main", "\n");
  EXPECT_EQ(message(), "FILE/refs/main: is empty and names no snapshot" + advice);
  std::filesystem::remove_all(directory.path() / "snapshots/def");
  directory.write("refs/main", "abc");
  EXPECT_EQ(message(), "FILE/refs/main: names the snapshot 'abc', which is not there; download the model again");
}

TEST(ModelDirectory, ALinkToNothingIsNamed) {
  const TemporaryDirectory directory;
  directory.write("config.json", "{}");
  std::filesystem::create_symlink("../blobs/0", directory.path() / "model.safetensors");
  EXPECT_NE(error_of([&] { Checkpoint::open(directory.path()); }, directory.path())
                .find("'model.safetensors' is a link to a file that is not there"),
            std::string::npos);
}

TEST(ModelDirectory, WordsInFrontOfNamesAreTakenAway) {
  const auto read = [](const Names& names) {
    const TemporaryDirectory directory;
    std::vector<std::pair<std::string, float>> values;
    for (const std::string& name : names) values.emplace_back(name, 1.0f);
    directory.write("model.safetensors", tensors(values));
    return names_of(Checkpoint::open(directory.path()));
  };
  const Names bare = {"lm_head.weight", "model.embed_tokens.weight", "model.layers.0.q.weight"};
  EXPECT_EQ(read(bare), bare);
  for (const char* prefix : {"_orig_mod.", "module.", "module._orig_mod.", "base.", "_fsdp_wrapped_module."}) {
    Names wrapped;
    for (const std::string& name : bare) wrapped.push_back(prefix + name);
    EXPECT_EQ(read(wrapped), bare) << prefix;
  }
  EXPECT_EQ(read({"lm_head.weight", "model._orig_mod.embed_tokens.weight",
                  "model._orig_mod.layers.0._checkpoint_wrapped_module.q.weight"}),
            bare);
  EXPECT_EQ(read({"lm_head.weight", "model.language_model.embed_tokens.weight",
                  "model.language_model.layers.0.q.weight", "model.visual.x"}),
            (Names{"lm_head.weight", "model.embed_tokens.weight", "model.layers.0.q.weight", "model.visual.x"}));
  EXPECT_EQ(read({"language_model.lm_head.weight", "language_model.model.embed_tokens.weight",
                  "language_model.model.layers.0.q.weight"}),
            bare);
  EXPECT_EQ(read({"embed_tokens.weight", "layers.0.q.weight"}),
            (Names{"model.embed_tokens.weight", "model.layers.0.q.weight"}));
  // Two that could be meant, and names that would meet: nothing is changed.
  const Names two = {"a.embed_tokens.weight", "b.embed_tokens.weight"};
  EXPECT_EQ(read(two), two);
  const Names meet = {"_orig_mod.x", "x"};
  EXPECT_EQ(read(meet), meet);
  const Names shift = {"embed_tokens.weight", "model.x", "x"};  // x would be called what model.x is in the file
  EXPECT_EQ(read(shift), shift);
}

TEST(ModelDirectory, DoublesAreReadInSinglePrecision) {
  const TemporaryDirectory directory;
  const std::string header = R"({"w":{"dtype":"F64","shape":[2,2],"data_offsets":[0,32]}})";
  directory.write("model.safetensors",
                  Bytes().u64(header.size()).raw(header).put(1.5).put(-0.1).put(1e300).put(0.0).text());
  const Checkpoint checkpoint = Checkpoint::open(directory.path());
  const StoredTensor& stored = checkpoint.tensor("w");
  EXPECT_EQ(stored.type_name, "F64");
  EXPECT_EQ(stored.bytes, 32u);
  ASSERT_TRUE(stored.values.format());
  EXPECT_EQ(stored.values.format()->name(), "f32");
  EXPECT_EQ(stored.values.rows(), 2u);
  const std::vector<float> values = stored.values.decode();
  EXPECT_EQ(values[0], 1.5f);
  EXPECT_EQ(values[1], -0.1f);
  EXPECT_TRUE(std::isinf(values[2]));  // which is refused where weights are judged
}

}  // namespace
}  // namespace nibble
