// SPDX-License-Identifier: Apache-2.0
//
// Every family through the whole of quantization: into the other container and back, and by methods that look at text
// and fold scales.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <ostream>
#include <set>

#include "base/random.h"
#include "engine/decoder.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "pipeline/budget/sensitivity.h"
#include "pipeline/models.h"
#include "pipeline/quantize/calibrate_model.h"

namespace nibble {
namespace {

class TinyFamily : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, TinyFamily, testing::ValuesIn(tiny_models()), [](const auto& p) { return p.param; });

// Numbers come back as they were; a zero-centred norm after a sum that is rounded once, a rate after an exponential and
// its logarithm.
TEST_P(TinyFamily, GoesIntoAGgufFileAndBack) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  const std::filesystem::path original = data_directory() / GetParam(), file = scratch / "model.gguf",
                              back = scratch / "back";
  quantize_to(original, "f32", file, machine);
  quantize_to(file, "f32", back, machine);
  const SourceModel before = SourceModel::open(original), between = SourceModel::open(file),
                    after = SourceModel::open(back);
  EXPECT_EQ(to_huggingface_config(after.config(), {}), to_huggingface_config(before.config(), {}));
  for (const ModelTensor& tensor : before.parts().all()) {
    const std::vector<float> a = before.stored(tensor).values.decode(), b = after.stored(tensor).values.decode();
    ASSERT_EQ(a.size(), b.size()) << tensor.hf_name;
    for (std::size_t i = 0; i < a.size(); ++i)
      ASSERT_NEAR(a[i], b[i],
                  tensor.hf_numbers == StoredNumbers{} ? 0
                  : tensor.hf_numbers.is_log_of_minus  ? 0x1p-21
                                                       : 0x1p-23)
          << tensor.hf_name << " " << i;
  }
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  Decoder first(before, exact_options(), machine);
  const std::vector<float> expected = all_logits(first, reference.ids);
  for (const SourceModel* const model : {&between, &after}) {
    Decoder decoder(*model, exact_options(), machine);
    EXPECT_LT(relative_difference(all_logits(decoder, reference.ids), expected), 2e-5);
  }
}

// Mistral Small 3: what llama.cpp calls mistral3 without queries that grow is a Llama, in either container.
TEST(MinistralWhoseQueriesDoNotGrow, IsALlama) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  EditableModel model = EditableModel::read(data_directory() / "tiny_mistral3");
  const char* const group = model.config.contains("rope_parameters") ? "rope_parameters" : "rope_scaling";
  model.config[group]["llama_4_scaling_beta"] = 0.0;
  model.config[group]["beta_fast"] = 32.0;
  model.config[group]["beta_slow"] = 1.0;
  model.write(scratch / "model");
  quantize_to(scratch / "model", "f32", scratch / "model.gguf", machine);
  quantize_to(scratch / "model.gguf", "f32", scratch / "back", machine);
  EXPECT_EQ(SourceModel::open(scratch / "model.gguf").gguf().string("general.architecture"), "llama");
  const auto type = nlohmann::json::parse(SourceModel::open(scratch / "back").config_json())["model_type"];
  EXPECT_TRUE(type == "llama" || type == "mistral") << type;
  const std::vector<std::int32_t> ids = ReferenceLogits::read("tiny_mistral3").ids;
  Decoder first(SourceModel::open(scratch / "model"), exact_options(), machine);
  const std::vector<float> expected = all_logits(first, ids);
  for (const char* const name : {"model.gguf", "back"}) {
    Decoder decoder(SourceModel::open(scratch / name), exact_options(), machine);
    EXPECT_LT(relative_difference(all_logits(decoder, ids), expected), 2e-5) << name;
  }
  // As llama.cpp's converter writes it.
  const SourceModel file = SourceModel::open(scratch / "model.gguf");
  GgufMetadata metadata;
  for (const auto& item : file.gguf().items())
    metadata.set(item.key.starts_with("llama.") ? "mistral3." + item.key.substr(6) : item.key, item.value);
  metadata.set("general.architecture", GgufValue::of_string("mistral3"));
  std::vector<PlannedTensor> plan;
  for (const StoredTensor& tensor : file.tensors()) plan.push_back({tensor.name, tensor.shape, tensor.values.format()});
  const auto writer = make_gguf_writer(scratch / "foreign.gguf", metadata, plan);
  for (std::size_t i = 0; i < plan.size(); ++i) writer->write_rows(i, *file.tensors()[i].values.planes());
  writer->finish();
  quantize_to(scratch / "foreign.gguf", "f32", scratch / "of-foreign", machine);
  Decoder decoder(SourceModel::open(scratch / "of-foreign"), exact_options(), machine);
  EXPECT_LT(relative_difference(all_logits(decoder, ids), expected), 2e-5);
}

// The class always normalizes, whatever keys of other families stand there.
TEST(Qwen35WithExperts, HasNoKeysOfRouting) {
  ScratchDirectory scratch;
  EditableModel model = EditableModel::read(data_directory() / "tiny_qwen35moe");
  model.config["norm_topk_prob"] = false;
  model.config["mlp_only_layers"] = {0};
  model.write(scratch / "model");
  const SourceModel source = SourceModel::open(scratch / "model");
  EXPECT_TRUE(source.config().normalizes_routing);
  EXPECT_TRUE(source.config().dense.empty());
}

// As the smaller ones of the family are, in both containers.
TEST(Glm4WithExperts, MayHaveHeadsThatAreNotNormed) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  EditableModel model = EditableModel::read(data_directory() / "tiny_glm4moe");
  model.config["use_qk_norm"] = false;
  std::erase_if(model.tensors, [](const auto& tensor) {
    return tensor.first.ends_with("q_norm.weight") || tensor.first.ends_with("k_norm.weight");
  });
  model.write(scratch / "model");
  quantize_to(scratch / "model", "f32", scratch / "model.gguf", machine);
  quantize_to(scratch / "model.gguf", "f32", scratch / "back", machine);
  EXPECT_FALSE(SourceModel::open(scratch / "model.gguf").config().norms_heads);
  EXPECT_TRUE(SourceModel::open(data_directory() / "tiny_glm4moe").config().norms_heads);
  const std::vector<std::int32_t> ids = ReferenceLogits::read("tiny_glm4moe").ids;
  Decoder first(SourceModel::open(scratch / "model"), exact_options(), machine);
  const std::vector<float> expected = all_logits(first, ids);
  for (const char* const name : {"model.gguf", "back"}) {
    Decoder decoder(SourceModel::open(scratch / name), exact_options(), machine);
    EXPECT_LT(relative_difference(all_logits(decoder, ids), expected), 2e-5) << name;
  }
}

// Gemma 3's layers that slide keep their positions where yarn stretches the others'. What is not yarn's usual magnitude
// llama.cpp multiplies those by, too: the file says the one, the directory the other.
TEST(StretchedGemma3, GoesIntoAGgufFileAndBack) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  EditableModel model = EditableModel::read(data_directory() / "tiny_gemma3");
  model.config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 16}};
  model.write(scratch / "model");
  quantize_to(scratch / "model", "f32", scratch / "model.gguf", machine);
  quantize_to(scratch / "model.gguf", "f32", scratch / "back", machine);
  const std::vector<std::int32_t> ids = ReferenceLogits::read("tiny_gemma3").ids;
  const auto logits = [&](const std::string& name) {
    Decoder decoder(SourceModel::open(scratch / name), exact_options(), machine);
    return all_logits(decoder, ids);
  };
  Decoder plain(SourceModel::open(data_directory() / "tiny_gemma3"), exact_options(), machine);
  const std::vector<float> expected = logits("model");
  EXPECT_GT(relative_difference(all_logits(plain, ids), expected), 1e-3);
  EXPECT_LT(relative_difference(logits("model.gguf"), expected), 2e-5);
  EXPECT_LT(relative_difference(logits("back"), expected), 2e-5);

  const SourceModel file = SourceModel::open(scratch / "model.gguf");
  ASSERT_TRUE(file.config().sliding_rope);
  EXPECT_EQ(file.config().sliding_rope->magnitude, 1);
  GgufMetadata metadata = file.gguf();
  metadata.set("gemma3.rope.scaling.attn_factor", GgufValue::of_f32(1.5F));
  std::vector<PlannedTensor> plan;
  for (const StoredTensor& tensor : file.tensors()) plan.push_back({tensor.name, tensor.shape, tensor.values.format()});
  const auto writer = make_gguf_writer(scratch / "multiplied.gguf", metadata, plan);
  for (std::size_t i = 0; i < plan.size(); ++i) writer->write_rows(i, *file.tensors()[i].values.planes());
  writer->finish();
  const ModelConfig multiplied = SourceModel::open(scratch / "multiplied.gguf").config();
  EXPECT_FLOAT_EQ(multiplied.rope.magnitude, 1.5F * static_cast<float>(yarn_magnitude(4)));
  EXPECT_FLOAT_EQ(multiplied.sliding_rope->magnitude, 1.5F);
  EXPECT_EQ(to_gguf_metadata(multiplied, {}).number("gemma3.rope.scaling.attn_factor"), 1.5);
  EXPECT_NE(error_of([&] { to_huggingface_config(multiplied, {}); }).second.find("keep the model in a GGUF file: 1.5"),
            std::string::npos);
  model.config["rope_scaling"]["attention_factor"] = 1.0;
  model.write(scratch / "unusual");
  EXPECT_NE(error_of([&] {
              quantize_to(scratch / "unusual", "f32", scratch / "unusual.gguf", machine);
            }).second.find("write a directory instead"),
            std::string::npos);
}

struct Family {
  std::string name, architecture;
  std::uint64_t window, experts = 0;
  std::uint64_t sharing = 0;  // layers, of which every second then attends to all positions
  // Of the largest logit, what eight bits may cost these random weights: up to an eighth in most families, more where
  // branches are multiplied before they are added.
  double most_lost = 0.2;
  // Scales of what a gate multiplied with a product go into two matrices, one after the other: of weights as large as
  // these, beyond f16.
  bool takes_awq = true;
};

void PrintTo(const Family& family, std::ostream* out) { *out << family.name; }

class CalibratedFamily : public testing::TestWithParam<Family> {
 protected:
  CalibratedFamily() {
    SynthShape shape = small_shape(GetParam().architecture, GetParam().sharing != 0 ? 4 : 3, 96);
    shape.sharing_layers = GetParam().sharing;
    if (shape.sharing_layers != 0) {
      shape.full_every = 2;
      shape.per_layer_width = 32;
    }
    shape.sliding_window = GetParam().window;
    shape.num_experts = GetParam().experts;
    shape.experts_used = GetParam().experts;  // all: a router's choice would jump where logits are near each other
    shape.expert_intermediate = GetParam().experts == 0 ? 0u : 96u;
    spread_synth(shape, scratch_, machine_.pool);
  }
  std::vector<float> logits(const std::filesystem::path& path) {
    Decoder decoder(SourceModel::open(path), exact_options(), machine_);
    std::vector<std::int32_t> ids;
    for (std::int32_t i = 0; i < 60; ++i) ids.push_back(3 + i * 37 % 250);
    return all_logits(decoder, ids);
  }

  QuantizeModelOptions options(const std::string& method, const std::string& format, const std::string& output) {
    QuantizeModelOptions options;
    choose_format(options, format);
    options.method = method;
    options.output = scratch_ / output;
    std::string text;
    for (int i = 0; i < 600; ++i) text += std::string(1, static_cast<char>('a' + i * i % 23)) + (i % 5 == 0 ? " " : "");
    options.calibration.texts = {{"text", text}};
    options.calibration.sampling = {.samples = 4, .length = 64, .seed = 0};
    return options;
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};
INSTANTIATE_TEST_SUITE_P(
    All, CalibratedFamily,
    testing::Values(Family{"mistral", "llama", 12}, Family{"qwen3", "qwen3", 0}, Family{"phi3", "phi3", 12},
                    Family{"gemma2", "gemma2", 12}, Family{"gemma3", "gemma3", 12}, Family{"mixtral", "llama", 0, 4},
                    Family{"qwen3moe", "qwen3moe", 0, 4}, Family{"qwen35", "qwen35", 0},
                    Family{"qwen35moe", "qwen35moe", 0, 4}, Family{"glm", "glm", 0}, Family{"glm4", "glm4", 0},
                    Family{"glm4moe", "glm4moe", 0, 4}, Family{"mistral3", "mistral3", 0},
                    Family{"gptoss", "gptoss", 12, 4}, Family{"gemma4", "gemma4", 12, 0, 2},
                    Family{"gemma4moe", "gemma4", 12, 4}, Family{"bitnet", "bitnet", 0},
                    Family{"smollm3", "smollm3", 0}, Family{"olmo2", "olmo2", 0}, Family{"olmo3", "olmo2", 12},
                    Family{"olmoe", "olmoe", 0, 4}, Family{"granite", "granite", 0, 0, 0, 0.5},
                    Family{"granitemoe", "granitemoe", 0, 4, 0, 0.5}, Family{"ernie45", "ernie45", 0},
                    Family{"hunyuan", "hunyuan", 0}, Family{"qwen2moe", "qwen2moe", 0, 4},
                    Family{"lfm2", "lfm2", 0, 0, 0, 0.2, false}),
    [](const auto& p) { return p.param.name; });

TEST_P(CalibratedFamily, KeepsItsFunction) {
  const std::vector<float> expected = logits(scratch_ / "model");
  for (const auto& [method, format, output] :
       std::vector<std::array<std::string, 3>>{{"awq", "int8:g32", "awq"},
                                               {"smoothquant", "int8:g32", "smoothquant"},
                                               {"gptq", "q8_0", "gptq.gguf"},
                                               {"awq", "q8_0", "awq.gguf"}}) {
    if (method == "awq" && !GetParam().takes_awq) continue;
    quantize_model(SourceModel::open(scratch_ / "model"), options(method, format, output), machine_, {});
    // A norm that is read or written wrongly costs most of the largest logit.
    EXPECT_LT(relative_difference(logits(scratch_ / output), expected), GetParam().most_lost)
        << method << " " << format;
  }
}

// On the text that it saw, every kind of Linear loses less by what its inputs tell.
TEST_P(CalibratedFamily, LosesLessByGptqThanByNearestValues) {
  const QuantizeSummary summary =
      quantize_model(SourceModel::open(scratch_ / "model"), options("gptq", "int3:g32", "gptq"), machine_, {});
  std::map<std::string, OutputError> kinds;
  for (const TensorSummary& tensor : summary.tensors) {
    if (!tensor.linear) continue;
    const std::string& kind = tensor.kind;
    if (kind == "router") continue;
    ASSERT_TRUE(tensor.error) << tensor.name;
    kinds[kind].nearest += tensor.error->nearest;
    kinds[kind].stored += tensor.error->stored;
  }
  EXPECT_EQ(kinds.contains("expert_down"), GetParam().experts > 0);
  for (const auto& [kind, error] : kinds) EXPECT_LT(error.stored, error.nearest) << kind;
  const ModelConfig config = SourceModel::open(scratch_ / "model").config();
  std::size_t mixtures = 0;
  for (std::int64_t layer = 0; layer < 3; ++layer) mixtures += config.has_experts(layer) ? 1 : 0;
  EXPECT_EQ(summary.experts.size(), mixtures);
  for (const ExpertTokens& layer : summary.experts) {
    EXPECT_EQ(layer.experts, GetParam().experts);
    EXPECT_EQ(layer.used, GetParam().experts);
    EXPECT_EQ(layer.fewest, 4 * 64u);
    EXPECT_EQ(layer.most, 4 * 64u);
  }
}

// [experts, rows, cols] becomes [experts, cols, rows].
EditableModel::Stored turned(const EditableModel::Stored& stack) {
  const std::size_t experts = stack.shape[0], rows = stack.shape[1], cols = stack.shape[2];
  const std::size_t size = stack.bytes.size() / (experts * rows * cols);
  EditableModel::Stored result{stack.dtype, {experts, cols, rows}, std::string(stack.bytes.size(), 0)};
  for (std::size_t e = 0; e < experts; ++e)
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < cols; ++c)
        stack.bytes.copy(&result.bytes[((e * cols + c) * rows + r) * size], size, ((e * rows + r) * cols + c) * size);
  return result;
}

// A model with experts as transformers has them in memory: gate and up of all of them in one tensor, down in another.
EditableModel with_stacks(const std::filesystem::path& path) {
  EditableModel model = EditableModel::read(path);
  const SourceModel original = SourceModel::open(path);
  const ModelTensors& tensors = original.parts();
  for (std::int64_t layer = 0; layer < tensors.network().num_layers(); ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".mlp.";
    auto router = model.tensors.extract(tensors.part("router", layer)->hf_name);
    router.key() = prefix + "gate.weight";
    model.tensors.insert(std::move(router));
    const std::uint64_t experts = original.config().num_experts;
    EditableModel::Stored gate_up, down;
    for (std::uint64_t e = 0; e < experts; ++e)
      for (const char* const part : {"expert_gate", "expert_up", "expert_down"}) {
        const auto taken = model.tensors.extract(tensors.part(expert_part(part, e), layer)->hf_name);
        EditableModel::Stored& stack = std::string_view(part) == "expert_down" ? down : gate_up;
        stack.dtype = taken.mapped().dtype;
        stack.shape = {experts, taken.mapped().shape[0] * (&stack == &down ? 1 : 2), taken.mapped().shape[1]};
        stack.bytes += taken.mapped().bytes;
      }
    model.tensors[prefix + "experts.gate_up_proj"] = gate_up;
    model.tensors[prefix + "experts.down_proj"] = down;
  }
  return model;
}

TEST(StackedExperts, OfADirectoryAreRead) {
  for (const std::string family : {"tiny_mixtral", "tiny_qwen3moe"}) {
    ScratchDirectory scratch;
    Machine machine(chosen_isa(), 2);
    const EditableModel model = with_stacks(data_directory() / family);
    model.write(scratch / "stacked");
    const std::vector<std::int32_t> ids = ReferenceLogits::read(family).ids;
    const auto logits = [&](const std::filesystem::path& path) {
      Decoder decoder(SourceModel::open(path), exact_options(), machine);
      return all_logits(decoder, ids);
    };
    const std::vector<float> expected = logits(data_directory() / family);
    EXPECT_EQ(logits(scratch / "stacked"), expected) << family;
    const QuantizeSummary summary = quantize_to(scratch / "stacked", "f32", scratch / "back", machine);
    EXPECT_TRUE(summary.ignored.empty()) << summary.ignored.front();
    EXPECT_EQ(logits(scratch / "back"), expected) << family;

    // One stack as it is named and one that is not contradict each other.
    EditableModel other = model;
    EditableModel::Stored& down = other.tensors["model.layers.0.mlp.experts.down_proj"];
    down = turned(down);
    other.write(scratch / "mixed");
    EXPECT_NE(error_of([&] { logits(scratch / "mixed"); }).second.find(") asks for ["), std::string::npos);
    EditableModel wrong = model;
    std::vector<std::uint64_t>& flat = wrong.tensors["model.layers.0.mlp.experts.down_proj"].shape;
    flat = {1, flat[0] * flat[1], flat[2]};
    wrong.write(scratch / "wrong");
    EXPECT_THROW(logits(scratch / "wrong"), Error);
  }
}

// Columns by rows, as some classes have their stacks; told by the shapes of a layer's stacks together, of which either
// may be square.
TEST(StackedExperts, OfADirectoryMayHoldColumnsByRows) {
  for (const char* const architecture : {"llama", "qwen3moe"})
    for (const std::uint64_t width : {96u, 64u, 32u}) {
      ScratchDirectory scratch;
      Machine machine(chosen_isa(), 2);
      SynthShape shape = small_shape(architecture, 2, width);
      shape.num_experts = 3;
      shape.experts_used = 2;
      shape.expert_intermediate = width;
      const std::filesystem::path original = spread_synth(shape, scratch, machine.pool);
      EditableModel model = with_stacks(original);
      for (auto& [name, tensor] : model.tensors)
        if (name.find(".experts.") != std::string::npos) tensor = turned(tensor);
      model.write(scratch / "turned");
      const auto logits = [&](const std::filesystem::path& path) {
        Decoder decoder(SourceModel::open(path), exact_options(), machine);
        return all_logits(decoder, {3, 40, 77, 114, 151});
      };
      const std::vector<float> expected = logits(original);
      EXPECT_EQ(logits(scratch / "turned"), expected) << architecture << " " << width;
      const QuantizeSummary summary = quantize_to(scratch / "turned", "f32", scratch / "back", machine);
      EXPECT_TRUE(summary.ignored.empty()) << summary.ignored.front();
      EXPECT_EQ(logits(scratch / "back"), expected) << architecture << " " << width;
      for (const char* const format : {"bf16", "q4_0"}) {
        quantize_to(scratch / "turned", format, scratch / "a.gguf", machine);
        quantize_to(original, format, scratch / "b.gguf", machine);
        EXPECT_EQ(logits(scratch / "a.gguf"), logits(scratch / "b.gguf")) << architecture << " " << width;
      }
    }
}

// Numbers of two digits, too, stand in their order.
TEST(StackedExperts, HaveTheirOwnBiasesWhereTextIsWalkedThrough) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  SynthShape shape = small_shape("gptoss", 1, 32);
  shape.num_experts = 12;
  shape.experts_used = 2;
  shape.expert_intermediate = 32;
  const SourceModel original = SourceModel::open(spread_synth(shape, scratch, machine.pool));
  QuantizeModelOptions options;
  choose_format(options, "q8_0");
  options.method = "gptq";
  options.output = scratch / "m.gguf";
  options.calibration.texts = {{"text", std::string(400, 'x') + " and something else"}};
  options.calibration.sampling = {.samples = 2, .length = 32};
  quantize_model(original, options, machine, {});
  const SourceModel file = SourceModel::open(options.output);
  for (const ModelTensor& tensor : original.parts().all()) {
    if (tensor.role != TensorRole::bias) continue;
    EXPECT_EQ(file.stored(*file.parts().part(tensor.part, tensor.layer)).values.decode(),
              original.stored(tensor).values.decode())
        << tensor.hf_name;
  }
}

// A budget is spent on experts, too: those of one stack have one format.
TEST_P(CalibratedFamily, IsSpentABudgetOn) {
  const SourceModel source = SourceModel::open(scratch_ / "model");
  SensitivityOptions options;
  options.formats = {"q4_0", "q8_0"};
  options.sampling = {.samples = 2, .length = 64};
  options.calibration = options.sampling;
  options.method = find_method("gptq");
  const Sensitivities measured =
      measure_sensitivities(source, this->options("gptq", "q4_0", "").calibration.texts, options, machine_);
  const SolvedRecipe solved = solve_recipe(measured, {.bits_per_weight = 7});
  QuantizeModelOptions made = this->options("gptq", "q4_0", "budget.gguf");
  made.recipe = solved.recipe;
  const QuantizeSummary summary = quantize_model(source, made, machine_, {});
  std::map<std::string, std::set<std::string>> formats;  // of each stack
  std::uint64_t bytes = 0;
  for (const TensorSummary& tensor : summary.tensors) {
    formats[tensor.name].insert(tensor.format);
    bytes += tensor.bytes;
  }
  for (const auto& [name, of_it] : formats) EXPECT_EQ(of_it.size(), 1u) << name;
  EXPECT_EQ(bytes, solved.bytes);
}

}  // namespace
}  // namespace nibble
