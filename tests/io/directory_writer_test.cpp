// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "file_builder.h"
#include "io/checkpoint.h"
#include "io/checkpoint_writer.h"
#include "written_tensors.h"

namespace nibble {
namespace {

const std::vector<SideFile> kSideFiles = {{"config.json", R"({"model_type": "llama", "vocab_size": 10})"},
                                          {"tokenizer.json", "{\"model\": null}"}};

std::vector<PlannedTensor> raw_tensors() {
  return {{"model.embed_tokens.weight", {10, 64}, find_format("bf16")},
          {"model.norm.weight", {64}, find_format("f32")},
          {"model.layers.0.self_attn.q_proj.weight", {8, 64}, find_format("f16")}};
}

std::vector<PlannedTensor> quantized_tensors() {
  return {{"model.embed_tokens.weight", {10, 64}, find_format("q8_0")},
          {"model.norm.weight", {64}, find_format("f32")},
          {"model.layers.0.self_attn.q_proj.weight", {8, 64}, find_format("int4:g32")},
          {"model.layers.0.self_attn.q_proj.bias", {8}, find_format("f32")},
          {"model.layers.0.mlp.experts.weight", {2, 3, 80}, find_format("int3:g32:asym")},
          {"model.layers.0.mlp.up_proj.weight", {4, 64}, find_format("int8:tensor")}};
}

TEST(DirectoryWriter, RawTensorsAsTheReferenceWriterLaysThemOut) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out";
  const auto plan = raw_tensors();
  const auto tensors = random_tensors(plan, 1);
  write_all(*make_directory_writer(path, kSideFiles, plan), tensors);
  EXPECT_EQ(directory.num_entries(), 1u);

  const std::string file = read_file(path / "model.safetensors");
  const std::string header =
      R"({"__metadata__":{"format":"pt"},)"
      R"("model.norm.weight":{"dtype":"F32","shape":[64],"data_offsets":[0,256]},)"
      R"("model.embed_tokens.weight":{"dtype":"BF16","shape":[10,64],"data_offsets":[256,1536]},)"
      R"("model.layers.0.self_attn.q_proj.weight":{"dtype":"F16","shape":[8,64],"data_offsets":[1536,2560]}})";
  EXPECT_EQ(file.substr(8, header.size()), header);
  EXPECT_EQ(file.size() % 8, 0u);

  const auto checkpoint = Checkpoint::open(path);
  ASSERT_EQ(checkpoint.tensors().size(), plan.size());
  for (std::size_t i = 0; i < plan.size(); ++i) {
    EXPECT_EQ(checkpoint.tensor(plan[i].name).shape, plan[i].shape);
    expect_same_planes(checkpoint.tensor(plan[i].name), tensors[i]);
  }
  EXPECT_EQ(checkpoint.config_json(), kSideFiles[0].text);  // untouched: nothing is quantized
  EXPECT_EQ(checkpoint.read_side_file("tokenizer.json"), kSideFiles[1].text);
}

TEST(DirectoryWriter, QuantizedTensorsComeBackAsTheyWere) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out";
  const auto plan = quantized_tensors();
  auto tensors = random_tensors(plan, 2);
  write_all(*make_directory_writer(path, kSideFiles, plan), tensors);

  const auto checkpoint = Checkpoint::open(path);
  ASSERT_EQ(checkpoint.tensors().size(), plan.size());
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const StoredTensor& stored = checkpoint.tensor(plan[i].name);
    EXPECT_EQ(stored.shape, plan[i].shape);
    expect_same_planes(stored, tensors[i]);
    EXPECT_EQ(stored.bytes, tensors[i].view().bytes());
  }
  const auto config = nlohmann::ordered_json::parse(checkpoint.config_json());
  EXPECT_EQ(config["vocab_size"], 10);
  const auto& container = config["quantization_config"];
  EXPECT_EQ(container["quant_method"], "nibble");
  EXPECT_EQ(container["version"], 1);
  EXPECT_EQ(container["tensors"].size(), 4u);
  EXPECT_EQ(container["tensors"]["model.layers.0.mlp.experts.weight"].dump(),
            R"({"format":"int3:g32:asym","shape":[2,3,80]})");
  EXPECT_EQ(Checkpoint::open(path / "model.safetensors").find("model.layers.0.self_attn.q_proj.codes")->type_name,
            "U8");
}

TEST(DirectoryWriter, ScalesOfBlocksAndBiases) {
  const TemporaryDirectory directory;
  const std::vector<PlannedTensor> plan = {{"a.weight", {300, 200}, find_format("fp8:block128x128")},
                                           {"b.weight", {5, 64}, find_format("int4:g32:bias:bf16")}};
  const auto tensors = random_tensors(plan, 6);
  const auto writer = make_directory_writer(directory.path() / "out", kSideFiles, plan);
  for (std::size_t i = 0; i < plan.size(); ++i) write_in_bands(*writer, i, tensors[i], 128);
  writer->finish();
  const auto checkpoint = Checkpoint::open(directory.path() / "out");
  for (std::size_t i = 0; i < plan.size(); ++i) expect_same_planes(checkpoint.tensor(plan[i].name), tensors[i]);
  const auto planes = Checkpoint::open(directory.path() / "out" / "model.safetensors");
  EXPECT_EQ(planes.tensor("a.scales").shape, (Shape{3, 2}));
  EXPECT_EQ(planes.tensor("a.scales").type_name, "F32");
  EXPECT_EQ(planes.tensor("b.biases").shape, (Shape{5, 2}));
  EXPECT_EQ(planes.tensor("b.biases").type_name, "BF16");
  // A band that ends inside a block cannot be followed.
  const auto cut = make_directory_writer(directory.path() / "cut", kSideFiles, plan);
  EXPECT_THROW(write_in_bands(*cut, 0, tensors[0], 100), Error);
}

std::shared_ptr<TensorParts> all_parts() {
  auto parts = std::make_shared<TensorParts>();
  for (std::uint32_t c = 0; c < 64; ++c) parts->input_order.push_back(63 - c);
  parts->outliers = {{0, 2, 2, 2, 3, 3, 3, 4}, {0, 63, 5, 3}, {9.5f, -8.25f, 7.0f, -6.0f}};
  parts->input_transform = {64, std::vector<std::int8_t>(64, -1)};
  parts->output_transform = {8, {1, 1, -1, 1, -1, -1, 1, 1}};
  parts->tensor_scale = 0.3f;
  return parts;
}

TEST(DirectoryWriter, PartsComeBackAsTheyWere) {
  const TemporaryDirectory directory;
  const auto some = std::make_shared<TensorParts>();
  some->output_transform = {2, {}};  // a name and no plane
  const std::vector<PlannedTensor> plan = {{"a.weight", {8, 64}, find_format("int4:g32"), all_parts()},
                                           {"b.weight", {4, 32}, find_format("q4_0"), some},
                                           {"c.weight", {4, 32}, find_format("int8:row")}};
  const auto tensors = random_tensors(plan, 7);
  for (const std::uint64_t shard_bytes : {std::uint64_t{1} << 30, std::uint64_t{100}}) {
    const auto path = directory.path() / std::to_string(shard_bytes);
    const auto writer = make_directory_writer(path, kSideFiles, plan, shard_bytes);
    for (std::size_t i = 0; i < plan.size(); ++i) write_in_bands(*writer, i, tensors[i], 3);
    const std::uint64_t planned = writer->planned_bytes();
    writer->finish();
    const auto checkpoint = Checkpoint::open(path);
    EXPECT_EQ(checkpoint.file_bytes(), planned);
    ASSERT_EQ(checkpoint.tensors().size(), 3u);
    for (std::size_t i = 0; i < plan.size(); ++i) {
      const StoredTensor& stored = checkpoint.tensor(plan[i].name);
      expect_same_planes(stored, tensors[i]);
      ASSERT_EQ(stored.values.parts() != nullptr, plan[i].parts != nullptr);
      if (plan[i].parts) {
        EXPECT_EQ(*stored.values.parts(), *plan[i].parts);
      }
    }
    const auto config = nlohmann::ordered_json::parse(checkpoint.config_json());
    EXPECT_EQ(config["quantization_config"]["version"], 2);
    EXPECT_EQ(config["quantization_config"]["tensors"]["a.weight"]["parts"].dump(),
              R"({"planes":["input_order","outlier_ends","outlier_columns","outlier_values","input_signs",)"
              R"("output_signs","tensor_scale"],"input_transform":"hadamard64","output_transform":"hadamard8"})");
    EXPECT_EQ(config["quantization_config"]["tensors"]["b.weight"]["parts"].dump(),
              R"({"output_transform":"hadamard2"})");
  }
}

TEST(DirectoryWriter, PartsThatDoNotFitAreRefused) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out";
  const auto message = [&](const PlannedTensor& planned) {
    return error_of([&] { make_directory_writer(path, kSideFiles, {planned}); }, path);
  };
  EXPECT_EQ(message({"a.weight", {8, 64}, find_format("f16"), all_parts()}),
            "FILE: tensor 'a.weight': is plain and cannot have parts");
  EXPECT_EQ(message({"a.weight", {9, 64}, find_format("int8:row"), all_parts()}),
            "FILE: tensor 'a.weight': the outliers should have an end for every row and a value for every column");
  // Bands do not bring parts that were not planned.
  const std::vector<PlannedTensor> plan = {{"a.weight", {8, 64}, find_format("int8:row")}};
  auto tensors = random_tensors(plan, 8);
  tensors[0].parts = all_parts();
  EXPECT_EQ(error_of([&] { make_directory_writer(path, kSideFiles, plan)->write_rows(0, tensors[0].view()); }, path),
            "FILE: tensor 'a.weight' has what a band whose tensor was planned without cannot have: input order, sparse "
            "outliers, input transform, output transform, tensor scale");
}

TEST(DirectoryWriter, ShardsWithAnIndex) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out";
  const auto plan = quantized_tensors();
  const auto tensors = random_tensors(plan, 3);
  write_all(*make_directory_writer(path, kSideFiles, plan, 700), tensors);
  EXPECT_FALSE(std::filesystem::exists(path / "model.safetensors"));
  const auto index = nlohmann::json::parse(read_file(path / "model.safetensors.index.json"));
  std::uint64_t total = 0;
  for (const auto& tensor : tensors) total += tensor.view().bytes();
  EXPECT_EQ(index["metadata"]["total_size"], total);
  const auto checkpoint = Checkpoint::open(path);
  for (std::size_t i = 0; i < plan.size(); ++i) expect_same_planes(checkpoint.tensor(plan[i].name), tensors[i]);
  std::size_t num_shards = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.path().extension() == ".safetensors") {
      ++num_shards;
      EXPECT_TRUE(entry.path().filename().string().ends_with("-of-00003.safetensors")) << entry.path();
    }
  EXPECT_EQ(num_shards, 3u);
}

TEST(DirectoryWriter, TheSameInputGivesTheSameBytes) {
  const TemporaryDirectory directory;
  const auto plan = quantized_tensors();
  for (const char* name : {"a", "b"})
    write_all(*make_directory_writer(directory.path() / name, kSideFiles, plan), random_tensors(plan, 4));
  for (const char* file : {"model.safetensors", "config.json", "tokenizer.json"})
    EXPECT_EQ(read_file(directory.path() / "a" / file), read_file(directory.path() / "b" / file)) << file;
}

// Read what another program wrote, write it again.
TEST(DirectoryWriter, TheSameBytesAsTheReferenceWriter) {
  const TemporaryDirectory directory;
  const std::filesystem::path reference = NIBBLE_SOURCE_DIR "/tests/data/io/reference.safetensors";
  copy_tensors(Checkpoint::open(reference),
               [&](const auto& plan) { return make_directory_writer(directory.path() / "out", {}, plan); });
  EXPECT_EQ(read_file(directory.path() / "out" / "model.safetensors"), read_file(reference));
}

TEST(DirectoryWriter, AnEarlierContainerIsReplacedInTheConfig) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out";
  const std::vector<SideFile> earlier = {
      {"config.json",
       R"({"quantization_config":{"quant_method":"nibble","version":1,"tensors":{"gone.weight":{"format":"int4:g32","shape":[2,2]}}},"x":1})"}};
  const auto raw = raw_tensors();
  write_all(*make_directory_writer(path, earlier, raw), random_tensors(raw, 5));
  EXPECT_EQ(nlohmann::json::parse(read_file(path / "config.json")).dump(), R"({"x":1})");
  const auto plan = quantized_tensors();
  write_all(*make_directory_writer(directory.path() / "again", earlier, plan), random_tensors(plan, 5));
  EXPECT_FALSE(Checkpoint::open(directory.path() / "again").find("gone.weight"));
}

TEST(DirectoryWriter, RefusesWhatItCannotHold) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out";
  const auto message = [&](const std::vector<SideFile>& files, const std::vector<PlannedTensor>& plan) {
    return error_of([&] { make_directory_writer(path, files, plan); }, path);
  };
  const auto f32 = find_format("f32");
  EXPECT_EQ(message({}, {{"__metadata__", {4}, f32}}),
            "FILE/model.safetensors: a tensor cannot be named '__metadata__'");
  EXPECT_EQ(message({{"model.safetensors", "x"}}, {}), "FILE: a side file cannot be named 'model.safetensors'");
  EXPECT_EQ(message({{"../x", "x"}}, {}), "FILE: a side file cannot be named '../x'");
  EXPECT_EQ(message({{"a", "x"}, {"a", "x"}}, {}), "FILE: a side file cannot be named 'a'");
  EXPECT_EQ(message({{"config.json", "{"}}, {{"w", {4}, find_format("int4:g32")}}),
            "FILE/config.json: text is not JSON at offset 1");
  EXPECT_EQ(directory.num_entries(), 0u);
}

TEST(DirectoryWriter, PlanesThatShareANameAreRefusedBeforeAnythingIsWritten) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out";
  const auto int4 = find_format("int4:g32");
  EXPECT_EQ(
      error_of([&] { make_directory_writer(path, {}, {{"q.weight", {2, 64}, int4}, {"q", {2, 64}, int4}}); }, path),
      "FILE/model.safetensors: two tensors or planes would be named 'q.codes'");
  EXPECT_EQ(directory.num_entries(), 0u);
}

TEST(DirectoryWriter, ReadingBackFindsDamage) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out";
  const auto plan = quantized_tensors();
  const auto tensors = random_tensors(plan, 6);
  auto writer = make_directory_writer(path, kSideFiles, plan);
  for (std::size_t i = 0; i < plan.size(); ++i) write_in_bands(*writer, i, tensors[i], 100);
  std::filesystem::path shard;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.path()))
    if (entry.path().filename().string().starts_with("model.safetensors")) shard = entry.path();
  std::fstream file(shard, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(-1, std::ios::end);
  const char last = static_cast<char>(std::to_integer<int>(tensors[4].planes[0].back()) ^ 1);
  file.put(last);
  file.close();
  const std::string message = error_of([&] { writer->finish(); }, path);
  EXPECT_TRUE(message.ends_with("read back differs from what was written; the disk may be failing")) << message;
  EXPECT_EQ(directory.num_entries(), 0u);
}

TEST(DirectoryWriter, ForeignDirectoriesAreLeftAlone) {
  const TemporaryDirectory directory;
  directory.write("out/precious.txt", "x");
  const auto path = directory.path() / "out";
  EXPECT_EQ(error_of([&] { make_directory_writer(path, kSideFiles, raw_tensors()); }, path),
            "FILE: exists and was not written by nibble; choose another output or remove it");
  EXPECT_EQ(read_file(path / "precious.txt"), "x");
}

}  // namespace
}  // namespace nibble
