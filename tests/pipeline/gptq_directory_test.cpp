// SPDX-License-Identifier: Apache-2.0
//
// Directories whose Linears GPTQ has quantized are inspected, run and quantized from their codes. tests/data/tiny_gptq
// was packed by another program (tools/reference_quantized.py), the others are packed here.
#include <gtest/gtest.h>

#include "base/error_kind.h"
#include "format/planar/format.h"
#include "io/packing/gptq.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"
#include "pipeline/tell/inspect.h"

namespace nibble {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr double kAgreement = 2e-5;  // of logits in f32, whose sums are taken in another order

std::string bytes_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<float> logits_of(const std::filesystem::path& path, Machine& machine, const DecoderOptions& options = {}) {
  Decoder decoder(SourceModel::open(path), options, machine);
  std::vector<std::int32_t> ids(24);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 37 % 199);
  return all_logits(decoder, ids);
}

class GptqDirectory : public testing::Test {
 protected:
  ScratchDirectory scratch_;
  Machine machine_{detect_cpu().avx2 ? Isa::avx2 : Isa::scalar, 2};

  // The tiny model in a planar format in this house's container, and the same codes as GPTQ lays them out, each
  // layer's inputs perhaps in an order of their own.
  struct Twins {
    std::filesystem::path planar, gptq;
  };
  Twins make(const std::string& format, std::int64_t bits, std::int64_t group, GptqZeros zeros, bool is_ordered) {
    const Twins twins{scratch_ / "planar", scratch_ / "gptq"};
    quantize_to(kGroupedModel, format, scratch_ / "first", machine_);
    const SourceModel first = SourceModel::open(scratch_ / "first");
    std::vector<PlannedTensor> plan;
    for (const StoredTensor& stored : first.tensors()) {
      plan.push_back({stored.name, stored.shape, stored.values.format()});
      if (!is_ordered || stored.values.format()->info().kind == FormatKind::raw) continue;
      auto parts = std::make_shared<TensorParts>();
      // Inputs dealt out to the groups in turn; within a group they ascend, as g_idx has them.
      const std::uint64_t cols = stored.values.cols(), groups = cols / static_cast<std::uint64_t>(group);
      for (std::uint64_t c = 0; c < cols; ++c)
        parts->input_order.push_back(static_cast<std::uint32_t>(c % static_cast<std::uint64_t>(group) * groups +
                                                                c / static_cast<std::uint64_t>(group)));
      plan.back().parts = parts;
    }
    const auto writer = make_directory_writer(twins.planar, {{"config.json", first.config_json()}}, plan);
    EditableModel packed = EditableModel::read(kGroupedModel);
    for (std::size_t i = 0; i < plan.size(); ++i) {
      QuantizedView view = *first.tensors()[i].values.planes();
      view.parts = plan[i].parts;
      writer->write_rows(i, view);
      if (view.format->info().kind == FormatKind::raw) {
        packed.tensors[plan[i].name] = {std::string(dtype_name(view.specs[0].dtype)), plan[i].shape,
                                        bytes_text(view.planes[0])};
        continue;
      }
      const std::string layer = plan[i].name.substr(0, plan[i].name.size() - kWeight.size());
      const GptqPacked tensors = pack_gptq(view, zeros, layer);
      packed.tensors.erase(plan[i].name);
      const auto put = [&](const char* name, const Tensor& tensor) {
        packed.tensors[layer + name] = {std::string(dtype_name(tensor.dtype)), tensor.shape, bytes_text(tensor.bytes)};
      };
      put(".qweight", tensors.qweight);
      put(".qzeros", tensors.qzeros);
      put(".scales", tensors.scales);
      put(".g_idx", tensors.g_idx);
    }
    writer->finish();
    packed.config["quantization_config"] = {{"quant_method", "gptq"},
                                            {"bits", bits},
                                            {"group_size", group},
                                            {"desc_act", is_ordered},
                                            {"sym", format.find("asym") == std::string::npos},
                                            {"checkpoint_format", zeros == GptqZeros::less_one ? "gptq" : "gptq_v2"}};
    packed.write(twins.gptq);
    return twins;
  }

  // Formats, parts and all bytes of all planes are the same, and so is what the models say.
  void expect_twins(const Twins& twins) {
    const SourceModel planar = SourceModel::open(twins.planar), gptq = SourceModel::open(twins.gptq);
    ASSERT_EQ(planar.tensors().size(), gptq.tensors().size());
    for (const StoredTensor& expected : planar.tensors()) {
      const StoredTensor& stored = gptq.tensor(expected.name);
      EXPECT_EQ(stored.shape, expected.shape);
      ASSERT_EQ(stored.values.format()->name(), expected.values.format()->name()) << expected.name;
      ASSERT_EQ(stored.values.parts() != nullptr, expected.values.parts() != nullptr) << expected.name;
      if (stored.values.parts()) {
        EXPECT_EQ(*stored.values.parts(), *expected.values.parts()) << expected.name;
      }
      QuantizedTensor room;
      const QuantizedView view = stored.values.read_rows(0, stored.values.rows(), room).planes;
      for (std::size_t p = 0; p < view.planes.size(); ++p)
        EXPECT_TRUE(std::ranges::equal(view.planes[p], expected.values.planes()->planes[p])) << expected.name << p;
    }
    EXPECT_EQ(logits_of(twins.gptq, machine_), logits_of(twins.planar, machine_));
    std::filesystem::remove_all(twins.planar);
    std::filesystem::remove_all(twins.gptq);
    std::filesystem::remove_all(scratch_ / "first");
  }
};

TEST_F(GptqDirectory, HasTheCodesAndLogitsOfItsTwin) {
  expect_twins(make("int4:g32", 4, 32, GptqZeros::less_one, false));
  expect_twins(make("int4:g32", 4, 32, GptqZeros::as_they_are, true));
  expect_twins(make("int8:row:f16", 8, -1, GptqZeros::less_one, false));
  expect_twins(make("int3:g32:asym", 3, 32, GptqZeros::as_they_are, false));
  expect_twins(make("int2:g16:asym", 2, 16, GptqZeros::as_they_are, true));
}

// Packed elsewhere, run by the package transformers from decoded weights.
TEST_F(GptqDirectory, AgreesWithTransformers) {
  const std::filesystem::path model = data_directory() / "tiny_gptq";
  const ReferenceLogits reference = ReferenceLogits::read("tiny_gptq");
  Decoder decoder(SourceModel::open(model), exact_options(), machine_);
  const std::vector<float> logits = all_logits(decoder, reference.ids);
  const std::size_t vocab = decoder.config().vocab_size;
  ASSERT_EQ(reference.at.size(), 4u);
  for (const auto& [position, expected] : reference.at)
    EXPECT_LT(relative_difference(std::span(logits).subspan(position * vocab, vocab), expected), kAgreement)
        << "position " << position;
}

TEST_F(GptqDirectory, IsInspectedAndChecked) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_gptq");
  const ModelInfo info = describe_model(model);
  EXPECT_EQ(info.obstacle, "");
  EXPECT_EQ(info.layers, 2u);
  const std::vector<TensorListing> tensors = list_tensors(model);
  const auto q = std::ranges::find(tensors, "model.layers.1.self_attn.q_proj.weight", &TensorListing::name);
  ASSERT_NE(q, tensors.end());
  EXPECT_EQ(q->format, "int4:g32:asym");
  EXPECT_EQ(q->shape, (Shape{64, 64}));
  EXPECT_EQ(q->bytes, 64u * 64 / 2 + 2 * 64 / 2 + 2 * 64 * 2 + 64 * 4);
  const CheckResult result = check_checkpoint(model, 10, machine_.pool, {});
  EXPECT_EQ(result.total, 0u);
  const StoredTensor& ordered = model.tensor("model.layers.0.mlp.down_proj.weight");
  ASSERT_TRUE(ordered.values.parts());
  EXPECT_EQ(ordered.values.parts()->input_order.size(), 96u);
  const TensorStatistics statistics = measure_statistics(model, ordered, machine_.pool);
  EXPECT_EQ(statistics.count, 64u * 96);
}

// Codes that lie in order are copied as they are; others start again from what they mean.
TEST_F(GptqDirectory, IsQuantizedFromItsCodes) {
  const Twins twins = make("int4:g32", 4, 32, GptqZeros::less_one, false);
  quantize_to(twins.gptq, "int4:g32", scratch_ / "copy", machine_);
  quantize_to(twins.planar, "int4:g32", scratch_ / "other", machine_);
  const SourceModel copy = SourceModel::open(scratch_ / "copy"), other = SourceModel::open(scratch_ / "other");
  for (const StoredTensor& expected : other.tensors()) {
    const StoredTensor& stored = copy.tensor(expected.name);
    ASSERT_EQ(stored.values.format()->name(), expected.values.format()->name());
    for (std::size_t p = 0; p < expected.values.planes()->planes.size(); ++p)
      EXPECT_TRUE(std::ranges::equal(stored.values.planes()->planes[p], expected.values.planes()->planes[p]))
          << expected.name << p;
  }
  EXPECT_EQ(copy.config_json().find("gptq"), std::string::npos);
  // Another container puts the rows of q and k into another order.
  QuantizeModelOptions options;
  choose_format(options, "f32");
  options.output = scratch_ / "m.gguf";
  quantize_model(SourceModel::open(data_directory() / "tiny_gptq"), options, machine_, {});
  EXPECT_LT(relative_difference(logits_of(scratch_ / "m.gguf", machine_, exact_options()),
                                logits_of(data_directory() / "tiny_gptq", machine_, exact_options())),
            kAgreement);
}

TEST_F(GptqDirectory, ThatContradictsItselfIsRefused) {
  const Twins twins = make("int4:g32", 4, 32, GptqZeros::less_one, false);
  const EditableModel good = EditableModel::read(twins.gptq);
  const auto refusal = [&](const std::function<void(EditableModel&)>& edit) {
    EditableModel model = good;
    edit(model);
    model.write(scratch_ / "bad");
    const std::string message = error_of([&] { SourceModel::open(scratch_ / "bad").parts(); }).second;
    const std::string begin = (scratch_ / "bad").string() + ": ";
    EXPECT_TRUE(message.starts_with(begin)) << message;
    return message.substr(std::min(message.size(), begin.size()));
  };
  const std::string layer = "model.layers.1.mlp.up_proj";
  EXPECT_EQ(refusal([&](EditableModel& m) { m.tensors.erase(layer + ".qzeros"); }),
            "layer '" + layer + "': qzeros is missing");
  EXPECT_EQ(refusal([&](EditableModel& m) { m.tensors[layer + ".weight"] = m.tensors[layer + ".scales"]; }),
            "layer '" + layer + "': is stored both as it is and in codes of GPTQ");
  EXPECT_EQ(refusal([&](EditableModel& m) { m.config["quantization_config"]["group_size"] = 64; }).substr(0, 6),
            "layer ");
  EXPECT_EQ(refusal([&](EditableModel& m) { m.tensors[layer + ".qzeros"].bytes[3] = 0x12; }),
            "layer '" + layer +
                "': has zero points of its own, although the configuration says that there are none (sym); set sym to "
                "false if they are meant");
  // What is not read here is named as before.
  for (const auto& [key, value] : std::map<std::string, nlohmann::json>{
           {"checkpoint_format", "marlin"}, {"bits", 5}, {"group_size", "all"}, {"dynamic", {{"up", {{"bits", 5}}}}}})
    EXPECT_TRUE(refusal([&](EditableModel& m) {
                  m.config["quantization_config"][key] = value;
                }).starts_with("the model is quantized already by gptq (quantization_config in config.json; tensor "))
        << key;
}

// As older programs wrote it.
TEST_F(GptqDirectory, SettingsMayLieBesideTheConfiguration) {
  const Twins twins = make("int4:g32", 4, 32, GptqZeros::less_one, false);
  EditableModel model = EditableModel::read(twins.gptq);
  nlohmann::json settings = model.config["quantization_config"];
  settings.erase("quant_method");
  settings.erase("checkpoint_format");
  model.config.erase("quantization_config");
  model.write(twins.gptq);
  std::ofstream(twins.gptq / "quantize_config.json") << settings.dump();
  expect_twins(twins);
}

// Codes whose inputs stand in an order of their own are copied where the container has a place for it, and otherwise
// not rounded anew unasked.
TEST_F(GptqDirectory, InputOrdersAreNotLostWithoutAWord) {
  const Twins twins = make("int4:g32", 4, 32, GptqZeros::as_they_are, true);
  quantize_to(twins.gptq, "int4:g32", scratch_ / "copy", machine_);
  EXPECT_EQ(logits_of(scratch_ / "copy", machine_), logits_of(twins.planar, machine_));
  EXPECT_TRUE(SourceModel::open(scratch_ / "copy").tensor("model.layers.0.mlp.down_proj.weight").values.parts());
  for (const char* const name : {"out", "out.gguf"})
    EXPECT_NE(error_of([&] {
                quantize_to(twins.gptq, "q4_0", scratch_ / name, machine_);
              }).second.find("is quantized already"),
              std::string::npos);
  const std::filesystem::path model = data_directory() / "tiny_gptq";
  EditableModel changed = EditableModel::read(model);
  changed.tensors.erase("model.layers.0.mlp.down_proj.g_idx");
  changed.write(scratch_ / "lost");
  const std::string message = error_of([&] { logits_of(scratch_ / "lost", machine_); }).second;
  EXPECT_NE(message.find("model.layers.0.mlp.down_proj"), std::string::npos) << message;
  EXPECT_NE(message.find("g_idx is missing"), std::string::npos) << message;
}

}  // namespace
}  // namespace nibble
