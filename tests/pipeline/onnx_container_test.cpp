// SPDX-License-Identifier: Apache-2.0
//
// The containers with an ONNX graph: what the graph is made of, that its tensors are read back as what was written, and
// what is refused before any work. Whether runtimes compute what we do, tests/clients asks them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/decoder.h"
#include "io/onnx/onnx_model.h"
#include "kernels/chosen_isa.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

class OnnxContainers : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << "built without ONNX";
  }
  static std::filesystem::path tiny(const char* name) {
    return std::filesystem::path(NIBBLE_SOURCE_DIR "/tests/data") / name;
  }
  QuantizeModelOptions options(const char* format, const char* container) const {
    QuantizeModelOptions request;
    choose_format(request, format);
    request.container = container;
    request.output = scratch_ / "out";
    return request;
  }
  OnnxModel write(const std::filesystem::path& model, const QuantizeModelOptions& request) {
    quantize_model(SourceModel::open(model), request, machine_, {});
    std::ifstream in(request.output / "model.onnx", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    return parse_onnx(std::as_bytes(std::span(text)), "model.onnx");
  }
  OnnxModel write(const std::filesystem::path& model, const char* format, const char* container) {
    return write(model, options(format, container));
  }
  std::string refusal(const std::filesystem::path& model, const QuantizeModelOptions& request) {
    const std::string why = error_of([&] { write(model, request); });
    EXPECT_FALSE(std::filesystem::exists(request.output));
    return why;
  }

  static std::map<std::string, int> operators(const OnnxModel& model) {
    std::map<std::string, int> count;
    for (const OnnxNode& node : model.nodes) ++count[node.op];
    return count;
  }
  // Every input of a node is an input of the graph, a constant, or what an earlier node has made, once.
  static void expect_sound(const OnnxModel& model) {
    std::map<std::string, bool> known;
    for (const OnnxValue& input : model.inputs) known[input.name] = true;
    for (const OnnxInitializer& one : model.initializers)
      EXPECT_TRUE(known.emplace(one.name, false).second) << one.name;
    for (const OnnxNode& node : model.nodes) {
      for (const std::string& input : node.inputs)
        if (!input.empty()) {
          EXPECT_TRUE(known.contains(input)) << node.name << " reads " << input;
          known[input] = true;
        }
      for (const std::string& output : node.outputs)
        EXPECT_TRUE(output.empty() || known.emplace(output, false).second) << output;
    }
    for (const OnnxValue& output : model.outputs) EXPECT_TRUE(known.contains(output.name)) << output.name;
    for (const OnnxInitializer& one : model.initializers) EXPECT_TRUE(known.at(one.name)) << one.name << " is not read";
  }
  // Four experts in each of two layers, of which two are used; every width is 64.
  std::filesystem::path sparse_synth() {
    SynthShape shape = find_synth_shape("qwen3-30b-a3b");
    shape.hidden = shape.intermediate = shape.expert_intermediate = 64;
    shape.layers = shape.kv_heads = shape.experts_used = 2;
    shape.heads = shape.num_experts = 4;
    shape.head_dim = 32;
    shape.vocab = 300;
    synthesize_model(shape, {.output = scratch_ / "sparse"}, machine_.pool, {});
    return scratch_ / "sparse";
  }
  // The same numbers as a directory of the format has.
  void expect_same_numbers(const std::filesystem::path& model, const char* format) {
    quantize_to(model, format, scratch_ / "planar", machine_);
    const SourceModel planar = SourceModel::open(scratch_ / "planar"), read = SourceModel::open(scratch_ / "out");
    ASSERT_EQ(planar.tensors().size(), read.tensors().size());
    for (const StoredTensor& tensor : planar.tensors())
      EXPECT_EQ(read.tensor(tensor.name).values.decode(), tensor.values.decode()) << tensor.name;
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};

// Two layers: a joint product and one attention each; the first norm stands alone, the others with the sums before
// them.
TEST_F(OnnxContainers, GenaiHasItsOperators) {
  const OnnxModel model = write(tiny("tiny_gqa_llama3rope"), "int4:g32", "onnx-genai");
  expect_sound(model);
  std::map<std::string, int> count = operators(model);
  const SourceModel source = SourceModel::open(tiny("tiny_gqa_llama3rope"));
  const int layers = static_cast<int>(source.config().layers);
  EXPECT_EQ(count["GroupQueryAttention"], layers);
  EXPECT_EQ(count["SimplifiedLayerNormalization"], 1);
  EXPECT_EQ(count["SkipSimplifiedLayerNormalization"], 2 * layers);
  EXPECT_EQ(count["MatMulNBits"], 5 * layers);
  EXPECT_EQ(model.inputs.size(), 2U + 2U * static_cast<unsigned>(layers));
  EXPECT_EQ(model.outputs.size(), 1U + 2U * static_cast<unsigned>(layers));
  EXPECT_EQ(model.opset, 21);
  EXPECT_EQ(model.microsoft_opset, 1);
  expect_same_numbers(tiny("tiny_gqa_llama3rope"), "int4:g32");
}

// Gates and ups of an expert lie in turn; how the graph reads them is QMoE's own layout.
TEST_F(OnnxContainers, GenaiHasOneOperatorForTheExpertsOfALayer) {
  const std::filesystem::path sparse = sparse_synth();
  for (const char* const format : {"int4:g32", "int4:g16:asym"}) {
    SCOPED_TRACE(format);
    const OnnxModel model = write(sparse, format, "onnx-genai");
    expect_sound(model);
    const SourceModel source = SourceModel::open(sparse);
    const ModelConfig& config = source.config();
    std::map<std::string, int> count = operators(model);
    EXPECT_EQ(count["QMoE"], static_cast<int>(config.layers));
    EXPECT_EQ(count["Sigmoid"], 0);
    expect_same_numbers(sparse, format);

    const auto node = std::ranges::find(model.nodes, std::string("QMoE"), &OnnxNode::op);
    EXPECT_EQ(*node->integer("k"), static_cast<std::int64_t>(config.experts_used));
    const auto constant = [&](std::size_t input) {
      return *std::ranges::find(model.initializers, node->inputs[input], &OnnxInitializer::name);
    };
    const OnnxInitializer values = constant(2);
    EXPECT_EQ(values.dims,
              (std::vector<std::uint64_t>{config.num_experts, 2 * config.expert_intermediate, config.hidden / 2}));
    EXPECT_EQ(constant(5).dims,
              (std::vector<std::uint64_t>{config.num_experts, config.hidden, config.expert_intermediate / 2}));
    const std::string data = read_text(scratch_ / "out" / "model.onnx.data");
    const SourceModel planar = SourceModel::open(scratch_ / "planar");
    const std::uint64_t length = config.hidden / 2, row = 3, expert = 1;
    for (const auto& [name, place] : {std::pair("gate_proj", 2 * row), std::pair("up_proj", 2 * row + 1)}) {
      const std::string tensor = fmt::format("model.layers.0.mlp.experts.{}.{}.weight", expert, name);
      const QuantizedView* const planes = planar.tensor(tensor).values.planes();
      ASSERT_NE(planes, nullptr);
      const auto codes = planes->planes[0].subspan(row * length, length);
      const std::uint64_t at = values.external->offset + (expert * 2 * config.expert_intermediate + place) * length;
      EXPECT_EQ(std::memcmp(data.data() + at, codes.data(), length), 0) << name;
    }
  }
}

TEST_F(OnnxContainers, ExpertsThatTheOperatorDoesNotTakeAreRefused) {
  const std::filesystem::path sparse = sparse_synth();
  EXPECT_NE(refusal(sparse, options("int8:g32", "onnx-genai")).find("QMoE takes experts in 4 bits as they are"),
            std::string::npos);
  EXPECT_NE(refusal(sparse, options("f32", "onnx-genai")).find("QMoE has one format of codes for all experts"),
            std::string::npos);
  EXPECT_NE(refusal(sparse, options("int4:g128", "onnx-genai")).find("int4:g32 for all experts would do"),
            std::string::npos);
  EXPECT_NE(refusal(tiny("tiny_qwen3moe"), options("int4:g16", "onnx-genai")).find("of another kind instead"),
            std::string::npos);
  EXPECT_NE(refusal(sparse, options("int4:g16", "onnx")).find("ONNX has no place for the operation"),
            std::string::npos);
}

TEST_F(OnnxContainers, GenaiNamesTheModelForItsRuntime) {
  write(tiny("tiny_gqa_llama3rope"), "int4:g32", "onnx-genai");
  std::ifstream in(scratch_ / "out" / "genai_config.json");
  const auto config = nlohmann::json::parse(in);
  EXPECT_EQ(config["model"]["type"], "llama");
  EXPECT_EQ(config["model"]["decoder"]["filename"], "model.onnx");
  EXPECT_EQ(config["model"]["decoder"]["num_key_value_heads"], SourceModel::open(scratch_ / "out").config().kv_heads);
  EXPECT_TRUE(config["model"].contains("context_length"));
  EXPECT_TRUE(config["search"].contains("max_length"));
}

TEST_F(OnnxContainers, FamiliesAreDrawn) {
  for (const char* const name : {"tiny_mistral", "tiny_qwen2", "tiny_qwen3", "tiny_phi3", "tiny_gemma2", "tiny_gemma3",
                                 "tiny_tied", "tiny_mistral3", "tiny_glm4"}) {
    SCOPED_TRACE(name);
    for (const char* const container : {"onnx-genai", "onnx"}) {
      SCOPED_TRACE(container);
      expect_sound(write(tiny(name), "int4:g16", container));
      expect_same_numbers(tiny(name), "int4:g16");
    }
  }
}

TEST_F(OnnxContainers, StandardHasNoOthers) {
  const OnnxModel model = write(tiny("tiny_qwen2"), "int8:row", "onnx");
  expect_sound(model);
  EXPECT_EQ(model.microsoft_opset, 0);
  for (const OnnxNode& node : model.nodes) EXPECT_EQ(node.domain, "");
  EXPECT_GT(operators(model)["DequantizeLinear"], 0);
  expect_same_numbers(tiny("tiny_qwen2"), "int8:row");
}

// An embedding that is the head, too, in codes: one constant for both.
TEST_F(OnnxContainers, AnEmbeddingInCodesIsShared) {
  QuantizeModelOptions request = options("int4:g16", "onnx-genai");
  request.embedding = "int4:g16";
  EXPECT_NE(error_of([&] { write(kTiedModel, request); }).find("16 do not divide rows of 72"), std::string::npos);
  const OnnxModel model = write(small_synth(scratch_, machine_.pool), request);
  expect_sound(model);
  std::map<std::string, int> count = operators(model);
  EXPECT_EQ(count["GatherBlockQuantized"], 1);
  EXPECT_EQ(count["Gather"], 1);                                                        // of the attention mask's shape
  EXPECT_EQ(operators(write(tiny("tiny_qwen2"), request))["GatherBlockQuantized"], 1);  // beside a head of its own
}

TEST_F(OnnxContainers, AreRunByTheEngine) {
  write(tiny("tiny_qwen3"), "int4:g32:f32", "onnx-genai");
  quantize_to(tiny("tiny_qwen3"), "int4:g32:f32", scratch_ / "planar", machine_);
  const std::vector<std::int32_t> ids = {5, 9, 17, 3};
  std::vector<std::vector<float>> logits;
  for (const char* const name : {"out", "planar"}) {
    Decoder decoder(SourceModel::open(scratch_ / name), {}, machine_);
    auto& all = logits.emplace_back(ids.size() * decoder.config().vocab_size);
    KvCache cache = decoder.new_cache(ids.size());
    decoder.forward(cache, ids, LogitsFor::all, all);
  }
  EXPECT_EQ(logits[0], logits[1]);
}

TEST_F(OnnxContainers, RefuseBeforeAnyWork) {
  EXPECT_NE(refusal(tiny("tiny_qwen2"), options("q8_0", "onnx-genai")).find("int8:g32 is the nearest"),
            std::string::npos);
  EXPECT_NE(refusal(tiny("tiny_qwen2"), options("int3:g32", "onnx-genai")).find("int4:g32 is the nearest"),
            std::string::npos);
  EXPECT_NE(refusal(tiny("tiny_qwen2"), options("int4:tensor", "onnx-genai")).find("int4:g32 is the nearest"),
            std::string::npos);
  EXPECT_NE(refusal(tiny("tiny_qwen2"), options("int2:g32", "onnx")).find("int4:g32 is the nearest"),
            std::string::npos);
  EXPECT_NE(refusal(tiny("tiny_gptoss"), options("int4:g32", "onnx-genai")).find("the operation route of layer 0"),
            std::string::npos);
  EXPECT_NE(refusal(tiny("tiny_qwen35"), options("int4:g32", "onnx")).find("ONNX has no place for the operation"),
            std::string::npos);
  QuantizeModelOptions tensorrt = options("int4:g32:asym", "onnx");
  tensorrt.onnx.is_for_tensorrt = true;
  EXPECT_NE(refusal(tiny("tiny_qwen2"), tensorrt).find("int4:g32 is the nearest: int4:g32:asym for"),
            std::string::npos);
  QuantizeModelOptions half = options("int8:row", "onnx-genai");
  half.onnx.is_half = true;
  EXPECT_NE(refusal(tiny("tiny_qwen2"), half).find("int8:row:f16 is the nearest: int8:row for"), std::string::npos);
  QuantizeModelOptions rounded = options("int4:g32+a8:token", "onnx-genai");
  EXPECT_NE(refusal(tiny("tiny_qwen2"), rounded).find("leave the plus out"), std::string::npos);
  QuantizeModelOptions embedding = options("int4:g32", "onnx");
  embedding.embedding = "int4:g32";
  EXPECT_NE(refusal(tiny("tiny_qwen2"), embedding).find("f16 would do"), std::string::npos);
}

}  // namespace
}  // namespace nibble
