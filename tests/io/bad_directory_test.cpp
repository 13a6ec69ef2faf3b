// SPDX-License-Identifier: Apache-2.0
//
// Directories with one named defect each, and the exact line that a user sees.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ostream>

#include "file_builder.h"
#include "io/checkpoint.h"

namespace nibble {
namespace {

struct BadDirectory {
  std::string defect;
  std::vector<std::pair<std::string, std::string>> files;
  ErrorKind kind;
  std::string message;
};

void PrintTo(const BadDirectory& directory, std::ostream* out) { *out << directory.defect; }

// One tensor of U8 [n] a name, in one file.
std::string byte_tensors(const std::vector<std::string>& names) {
  std::string header = "{";
  for (std::size_t i = 0; i < names.size(); ++i)
    header +=
        fmt::format(R"({}"{}":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}})", i ? "," : "", names[i], i, i + 1);
  return safetensors_file(header + "}", names.size());
}

std::string index_of(const std::string& weight_map) {
  return R"({"metadata":{"total_size":2},"weight_map":)" + weight_map + "}";
}

constexpr const char* kIndex = "model.safetensors.index.json";

std::vector<BadDirectory> bad_shards() {
  const auto corrupt = ErrorKind::corrupt, missing = ErrorKind::not_found;
  const std::string one = "a.safetensors", two = "b.safetensors";
  const std::string good = index_of(R"({"x":"a.safetensors","y":"b.safetensors"})");
  return {
      {"empty",
       {},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json; it is empty"},
      {"adapter",
       {{"adapter_config.json", R"({"base_model_name_or_path":"org/base"})"},
        {"adapter_model.safetensors", byte_tensors({"x"})}},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json; it holds an adapter of "
       "'org/base' (LoRA or the like), which is no "
       "model without its base; merge the two, for example with PEFT's merge_and_unload(), and give the result"},
      {"other_name",
       {{"weights.safetensors", byte_tensors({"x"})}},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json; its weights have another "
       "name; rename 'weights.safetensors' to "
       "model.safetensors"},
      {"other_names",
       {{"x.safetensors", byte_tensors({"x"})}, {"y.safetensors", byte_tensors({"y"})}},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json; its weights have other "
       "names, 'x.safetensors' and 1 more, and no "
       "index says how they belong together"},
      {"download_not_complete",
       {{"model.safetensors.part", "x"}},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json; a download is not complete: "
       "'model.safetensors.part'"},
      {"only_onnx",
       {{"decoder_model.onnx", "x"}},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json; 'decoder_model.onnx' is of "
       "another framework; save the model as safetensors first"},
      {"foreign_onnx",
       {{"model.onnx", "x"}},
       ErrorKind::corrupt,
       "FILE/model.onnx: is no ONNX model, or damaged"},
      {"only_archive",
       {{"model.zip", "PK\x03\x04"}},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json; unpack 'model.zip' first"},
      {"model_below",
       {{"inner/config.json", "{}"}},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json; give the path of a model in "
       "it: 'inner'"},
      {"shards_incomplete",
       {{"model-00001-of-00003.safetensors", byte_tensors({"x"})},
        {"model-00003-of-00003.safetensors", byte_tensors({"y"})}},
       missing,
       "FILE: 2 of 3 shards are here, and no model.safetensors.index.json; missing is "
       "'model-00002-of-00003.safetensors'"},
      {"single_file_left_over",
       {{kIndex, good},
        {one, byte_tensors({"x"})},
        {two, byte_tensors({"y"})},
        {"model.safetensors", byte_tensors({"x"})}},
       ErrorKind::unusable_input,
       "FILE: holds two models, model.safetensors and the shards of model.safetensors.index.json, one of which is left "
       "from before; remove the one that is "
       "not meant"},
      {"index_of_other_shards",
       {{kIndex, index_of(R"({"x":"model-00001-of-00030.safetensors"})")},
        {"model-00001-of-00001.safetensors", byte_tensors({"x"})}},
       missing,
       "FILE/model.safetensors.index.json: shard 'model-00001-of-00030.safetensors' is missing, but shards of another "
       "set lie beside it, as "
       "'model-00001-of-00001.safetensors'; the index is an older one: remove it, or fetch the index of these shards"},
      {"cache_of_two_snapshots",
       {{"snapshots/a/config.json", "{}"}, {"snapshots/b/config.json", "{}"}},
       ErrorKind::unusable_input,
       "FILE: a hub cache with 2 snapshots and no refs/main that names one of them; give the path of one: "
       "FILE/snapshots/a"},
      {"shard_is_a_pointer",
       {{kIndex, good},
        {one, byte_tensors({"x"})},
        {two, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"}},
       corrupt,
       "FILE/b.safetensors: this is a Git LFS pointer, not the file that it stands for; fetch that with 'git lfs "
       "pull', or download it again"},
      {"nothing_there",
       {{"readme.md", "hello"}},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json"},
      {"only_gguf",
       {{"m.gguf", "x"}},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json; give the path of the GGUF "
       "file in it"},
      {"only_pickle",
       {{"pytorch_model.bin", "x"}},
       missing,
       "FILE: directory holds neither model.safetensors nor model.safetensors.index.json; save its PyTorch weights as "
       "safetensors first"},
      {"shard_missing",
       {{kIndex, good}, {one, byte_tensors({"x"})}},
       missing,
       "FILE/model.safetensors.index.json: shard 'b.safetensors' is missing"},
      {"tensor_in_two_shards",
       {{kIndex, good}, {one, byte_tensors({"x", "z"})}, {two, byte_tensors({"y", "z"})}},
       corrupt,
       "FILE/model.safetensors.index.json: tensor 'z' is in two shards, 'a.safetensors' and 'b.safetensors', and the "
       "index does not say in which"},
      {"shard_damaged",
       {{kIndex, good}, {one, byte_tensors({"x"})}, {two, "short"}},
       corrupt,
       "FILE/b.safetensors: file ends inside header length at offset 0: needs 8 bytes, has 5"},
      {"index_not_json",
       {{kIndex, "{\"weight_map\":"}},
       corrupt,
       "FILE/model.safetensors.index.json: text is not JSON at offset 14"},
      {"index_a_list",
       {{kIndex, "[]"}},
       corrupt,
       "FILE/model.safetensors.index.json: index has no object 'weight_map'"},
      {"index_without_map",
       {{kIndex, "{}"}},
       corrupt,
       "FILE/model.safetensors.index.json: index has no object 'weight_map'"},
      {"index_empty", {{kIndex, index_of("{}")}}, corrupt, "FILE/model.safetensors.index.json: 'weight_map' is empty"},
      {"index_of_numbers",
       {{kIndex, index_of(R"({"x":1})")}},
       corrupt,
       "FILE/model.safetensors.index.json: weight_map of tensor 'x' is not a string"},
      {"index_leaves_directory",
       {{kIndex, index_of(R"({"x":"../a.safetensors"})")}},
       corrupt,
       "FILE/model.safetensors.index.json: weight_map of tensor 'x' is not the name of a file beside the index: "
       "'../a.safetensors'"},
      {"index_with_a_key_twice",
       {{kIndex, index_of(R"({"x":"a.safetensors","x":"b.safetensors"})")}},
       corrupt,
       "FILE/model.safetensors.index.json: JSON has the key 'x' a second time at offset 63"},
      {"config_not_utf8",
       {{"config.json", "{\"a\":\"\xc0\"}"}, {"model.safetensors", byte_tensors({})}},
       corrupt,
       "FILE/config.json: text is not UTF-8 at offset 6"},
      {"config_empty",
       {{"config.json", ""}, {"model.safetensors", byte_tensors({})}},
       corrupt,
       "FILE/config.json: text is not JSON at offset 0"},
      {"config_a_list",
       {{"config.json", "[]"}, {"model.safetensors", byte_tensors({})}},
       corrupt,
       "FILE/config.json: should be a JSON object"},
  };
}

std::string config_of(const std::string& tensors, const std::string& version = "1") {
  return R"({"model_type":"llama","quantization_config":{"quant_method":"nibble","version":)" + version +
         R"(,"tensors":)" + tensors + "}}";
}

// Planes of an int4:g32 tensor of 2 x 64: codes U8 [2, 32], scales F16 [2, 2]. The types and shapes are damaged by the
// caller.
std::string planes(const std::string& scales_type = "F16", const std::string& codes_shape = "[2,32]",
                   std::size_t scales_bytes = 8) {
  return safetensors_file(
      fmt::format(
          R"({{"q.scales":{{"dtype":"{}","shape":[2,2],"data_offsets":[0,{}]}},"q.codes":{{"dtype":"U8","shape":{},"data_offsets":[{},{}]}}}})",
          scales_type, scales_bytes, codes_shape, scales_bytes, scales_bytes + 64),
      scales_bytes + 64);
}

// The same and one plane more, of zeros.
std::string planes_and(const std::string& name, const std::string& type, std::size_t count) {
  return safetensors_file(
      fmt::format(
          R"({{"q.scales":{{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}},"q.codes":{{"dtype":"U8","shape":[2,32],"data_offsets":[8,72]}},"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[72,{}]}}}})",
          name, type, count, 72 + 4 * count),
      72 + 4 * count);
}

std::string with_parts(const std::string& parts) {
  return R"({"q.weight":{"format":"int4:g32","shape":[2,64],"parts":)" + parts + "}}";
}

std::vector<BadDirectory> bad_planes() {
  const auto corrupt = ErrorKind::corrupt, unsupported = ErrorKind::unsupported;
  const std::string entry = R"({"q.weight":{"format":"int4:g32","shape":[2,64]}})";
  const auto with = [](std::string config, std::string model) {
    return std::vector<std::pair<std::string, std::string>>{{"config.json", std::move(config)},
                                                            {"model.safetensors", std::move(model)}};
  };
  const std::string where = "FILE/config.json: quantization_config: ";
  return {
      {"version_missing", with(R"({"quantization_config":{"quant_method":"nibble","tensors":{}}})", byte_tensors({})),
       corrupt, where + "'version' should be a number"},
      {"version_newer", with(config_of("{}", "3"), byte_tensors({})), unsupported,
       where + "version is not 1 or 2; a newer nibble wrote it: 3"},
      {"tensors_missing", with(R"({"quantization_config":{"quant_method":"nibble","version":1}})", byte_tensors({})),
       corrupt, where + "'tensors' should be an object"},
      {"entry_a_string", with(config_of(R"({"q.weight":"int4:g32"})"), planes()), corrupt,
       where + "tensor 'q.weight': should be an object with 'format' and 'shape'"},
      {"format_missing", with(config_of(R"({"q.weight":{"shape":[2,64]}})"), planes()), corrupt,
       where + "tensor 'q.weight': 'format' should be a string"},
      {"shape_missing", with(config_of(R"({"q.weight":{"format":"int4:g32"}})"), planes()), corrupt,
       where + "tensor 'q.weight': 'shape' should be a list of 1 to 8 numbers"},
      {"shape_with_zero", with(config_of(R"({"q.weight":{"format":"int4:g32","shape":[0,64]}})"), planes()), corrupt,
       where + "tensor 'q.weight': 'shape' should hold positive integers"},
      {"shape_overflowing",
       with(config_of(R"({"q.weight":{"format":"int4:g32","shape":[4294967296,4294967296]}})"), planes()), corrupt,
       where + "tensor 'q.weight': the number of elements overflows: shape [4294967296, 4294967296]"},
      {"plane_missing", with(config_of(entry), byte_tensors({"q.codes"})), corrupt,
       "FILE: tensor 'q.weight' (int4:g32): plane 'q.codes' in model.safetensors should be U8 [2, 32] but is U8 [1]"},
      {"all_planes_missing", with(config_of(entry), byte_tensors({"k.bias"})), corrupt,
       "FILE: tensor 'q.weight' (int4:g32): plane 'q.codes' is missing"},
      {"plane_of_wrong_type", with(config_of(entry), planes("F32", "[2,32]", 16)), corrupt,
       "FILE: tensor 'q.weight' (int4:g32): plane 'q.scales' in model.safetensors should be F16 [2, 2] but is F32 [2, "
       "2]"},
      {"plane_of_wrong_shape", with(config_of(entry), planes("F16", "[4,16]")), corrupt,
       "FILE: tensor 'q.weight' (int4:g32): plane 'q.codes' in model.safetensors should be U8 [2, 32] but is U8 [4, "
       "16]"},
      {"plane_left_over", with(config_of("{}"), planes()), corrupt,
       "FILE: tensor 'q.scales' looks like a plane of a quantized tensor, but config.json lists none that has it"},
      {"plane_too_many",
       with(
           config_of(R"({"q.weight":{"format":"int8:row","shape":[1,1]}})"),
           safetensors_file(
               R"({"q.scales":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"q.codes":{"dtype":"U8","shape":[1,1],"data_offsets":[4,5]},)"
               R"("q.zeros":{"dtype":"U8","shape":[1,1],"data_offsets":[5,6]}})",
               6)),
       corrupt,
       "FILE: tensor 'q.zeros' looks like a plane of a quantized tensor, but config.json lists none that has it"},
      {"stored_twice",
       with(
           config_of(R"({"q.weight":{"format":"int8:row","shape":[1,1]}})"),
           safetensors_file(
               R"({"q.scales":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"q.codes":{"dtype":"U8","shape":[1,1],"data_offsets":[4,5]},)"
               R"("q.weight":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}})",
               6)),
       corrupt, "FILE: tensor 'q.weight' is stored both as it is and in planes"},
      {"parts_a_list", with(config_of(with_parts("[]"), "2"), planes()), corrupt,
       where + "tensor 'q.weight': 'parts' should be an object"},
      {"part_unknown", with(config_of(with_parts(R"({"zap":1})"), "2"), planes()), unsupported,
       where + "tensor 'q.weight': has a part that is not known here: 'zap'"},
      {"part_plane_unknown", with(config_of(with_parts(R"({"planes":["zap"]})"), "2"), planes()), unsupported,
       where + "tensor 'q.weight': has a part that is not known here: 'zap'"},
      {"part_planes_a_number", with(config_of(with_parts(R"({"planes":[1]})"), "2"), planes()), corrupt,
       where + "tensor 'q.weight': 'planes' should be a list of names"},
      {"transform_unknown", with(config_of(with_parts(R"({"input_transform":"fourier"})"), "2"), planes()), unsupported,
       where + "tensor 'q.weight': 'input_transform' is not known here: 'fourier'"},
      {"transform_too_large", with(config_of(with_parts(R"({"input_transform":"hadamard128"})"), "2"), planes()),
       corrupt,
       "FILE: tensor 'q.weight' (int4:g32): the input transform should have a power of two that divides 64 channels: "
       "hadamard128"},
      {"part_plane_missing", with(config_of(with_parts(R"({"planes":["tensor_scale"]})"), "2"), planes()), corrupt,
       "FILE: tensor 'q.weight' (int4:g32): plane 'q.tensor_scale' is missing"},
      {"part_plane_twice",
       with(config_of(with_parts(R"({"planes":["tensor_scale","tensor_scale"]})"), "2"),
            planes_and("q.tensor_scale", "F32", 1)),
       corrupt, "FILE: tensor 'q.weight' (int4:g32): plane 'q.tensor_scale' belongs to two tensors"},
      {"part_plane_of_wrong_type",
       with(config_of(with_parts(R"({"planes":["input_order"]})"), "2"), planes_and("q.input_order", "F32", 64)),
       corrupt,
       "FILE: tensor 'q.weight' (int4:g32): plane 'q.input_order' in model.safetensors should be a list of I32 but is "
       "F32 [64]"},
      {"part_plane_of_zeros",
       with(config_of(with_parts(R"({"planes":["input_order"]})"), "2"), planes_and("q.input_order", "I32", 64)),
       corrupt,
       "FILE: tensor 'q.weight' (int4:g32): the input order names an input that is not there or twice at column 1"},
      {"part_plane_left_over", with(config_of(entry), planes_and("q.tensor_scale", "F32", 1)), corrupt,
       "FILE: tensor 'q.tensor_scale' looks like a plane of a quantized tensor, but config.json lists none that has "
       "it"},
      {"plane_shared",
       with(config_of(R"({"q.weight":{"format":"int4:g32","shape":[2,64]},"q":{"format":"int4:g32","shape":[2,64]}})"),
            planes()),
       corrupt, "FILE: tensor 'q' (int4:g32): plane 'q.codes' belongs to two tensors"},
  };
}

class BadDirectoryTest : public ::testing::TestWithParam<BadDirectory> {};

TEST_P(BadDirectoryTest, SaysWhatIsWrong) {
  const TemporaryDirectory directory;
  for (const auto& [name, text] : GetParam().files) directory.write(name, text);
  ErrorKind kind = ErrorKind::internal;
  EXPECT_EQ(error_of([&] { Checkpoint::open(directory.path()); }, directory.path(), &kind), GetParam().message);
  EXPECT_EQ(kind, GetParam().kind);
}

const auto kName = [](const ::testing::TestParamInfo<BadDirectory>& info) { return info.param.defect; };
INSTANTIATE_TEST_SUITE_P(Shards, BadDirectoryTest, ::testing::ValuesIn(bad_shards()), kName);
INSTANTIATE_TEST_SUITE_P(Planes, BadDirectoryTest, ::testing::ValuesIn(bad_planes()), kName);

TEST(BadDirectory, PlanesThatAreWholeOpen) {
  const TemporaryDirectory directory;
  directory.write("config.json", config_of(R"({"q.weight":{"format":"int4:g32","shape":[2,64]}})"));
  directory.write("model.safetensors", planes());
  const auto checkpoint = Checkpoint::open(directory.path());
  ASSERT_EQ(checkpoint.tensors().size(), 1u);
  const StoredTensor& tensor = checkpoint.tensor("q.weight");
  EXPECT_EQ(tensor.type_name, "int4:g32");
  EXPECT_EQ(tensor.bytes, 72u);
  EXPECT_EQ(tensor.values.decode(), std::vector<float>(128, 0.0f));
}

TEST(BadDirectory, UnknownFormatNamesItsTensor) {
  const TemporaryDirectory directory;
  directory.write("config.json", config_of(R"({"q.weight":{"format":"int99","shape":[2,64]}})"));
  directory.write("model.safetensors", planes());
  ErrorKind kind = ErrorKind::internal;
  const std::string message = error_of([&] { Checkpoint::open(directory.path()); }, directory.path(), &kind);
  EXPECT_TRUE(message.starts_with("FILE/config.json: quantization_config: tensor 'q.weight': ")) << message;
  EXPECT_EQ(kind, ErrorKind::unsupported);
}

TEST(BadDirectory, PathsThatAreNoCheckpoint) {
  const TemporaryDirectory directory;
  const auto message = [&](const std::filesystem::path& path, ErrorKind expected) {
    ErrorKind kind = ErrorKind::internal;
    const std::string text = error_of([&] { Checkpoint::open(path); }, path, &kind);
    EXPECT_EQ(kind, expected);
    return text;
  };
  EXPECT_EQ(message(directory.path() / "nothing", ErrorKind::not_found), "FILE: no such file or directory");
  EXPECT_EQ(message(directory.write("config.json", "{}"), ErrorKind::unusable_input),
            "FILE: not weights; give the directory that it lies in");
  EXPECT_EQ(message(directory.write("notes.txt", "hello world"), ErrorKind::unsupported),
            "FILE: neither GGUF nor safetensors");
  EXPECT_EQ(message(directory.write("model.bin", "PK\x03\x04....."), ErrorKind::unsupported),
            "FILE: neither GGUF nor safetensors but a ZIP archive, as PyTorch's .bin, .pt and .pth files are; save the "
            "weights as safetensors first");
  EXPECT_EQ(message("/dev/null", ErrorKind::io), "FILE: neither a file nor a directory");
}

}  // namespace
}  // namespace nibble
