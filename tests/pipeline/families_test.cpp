// SPDX-License-Identifier: Apache-2.0
//
// Every family through the whole of quantization: into the other container and back, and by methods that look at text
// and fold scales.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <ostream>

#include "base/random.h"
#include "engine/decoder.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

class TinyFamily : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, TinyFamily, testing::ValuesIn(tiny_models()), [](const auto& p) { return p.param; });

// Numbers come back as they were; a zero-centred norm after a sum that is rounded once.
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
    const std::vector<float> a = before.stored(tensor).view.decode(), b = after.stored(tensor).view.decode();
    ASSERT_EQ(a.size(), b.size()) << tensor.hf_name;
    for (std::size_t i = 0; i < a.size(); ++i)
      ASSERT_NEAR(a[i], b[i], tensor.hf_offset == 0 ? 0 : 0x1p-23) << tensor.hf_name << " " << i;
  }
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  Decoder first(before, exact_options(), machine);
  const std::vector<float> expected = all_logits(first, reference.ids);
  for (const SourceModel* const model : {&between, &after}) {
    Decoder decoder(*model, exact_options(), machine);
    EXPECT_LT(relative_difference(all_logits(decoder, reference.ids), expected), 2e-5);
  }
}

struct Family {
  std::string name, architecture;
  std::uint64_t window, experts = 0;
};

void PrintTo(const Family& family, std::ostream* out) { *out << family.name; }

class CalibratedFamily : public testing::TestWithParam<Family> {
 protected:
  CalibratedFamily() {
    SynthShape shape{
        .name = "small",
        .architecture = GetParam().architecture,
        .hidden = 64,
        .intermediate = 96,
        .layers = 3,
        .heads = 4,
        .kv_heads = 2,
        .head_dim = 16,
        .vocab = 300,
        .context = 128,
        .tied = true,
        .sliding_window = GetParam().window,
        .num_experts = GetParam().experts,
        .experts_used = GetParam().experts,  // all: a router's choice would jump where logits are near each other
        .expert_intermediate = GetParam().experts == 0 ? 0u : 96u};
    synthesize_model(shape, {.output = scratch_ / "small"}, machine_.pool, {});
    // Weights of 0.02 would let every layer give next to nothing, and norms of 1 would hide which of them is which.
    edited_copy(scratch_ / "small", scratch_ / "model", [](const std::string& tensor, std::span<float> values) {
      Random random(values.size());
      const bool is_norm = tensor.find("norm") != std::string::npos;
      for (float& value : values) value = is_norm ? value + 0.3F * static_cast<float>(random.normal()) : 8 * value;
    });
    for (const char* const side : {"tokenizer.json", "tokenizer_config.json"})
      std::filesystem::copy_file(scratch_ / "small" / side, scratch_ / "model" / side);
  }
  std::vector<float> logits(const std::filesystem::path& path) {
    Decoder decoder(SourceModel::open(path), exact_options(), machine_);
    std::vector<std::int32_t> ids;
    for (std::int32_t i = 0; i < 60; ++i) ids.push_back(3 + i * 37 % 250);
    return all_logits(decoder, ids);
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};
INSTANTIATE_TEST_SUITE_P(All, CalibratedFamily,
                         testing::Values(Family{"mistral", "llama", 12}, Family{"qwen3", "qwen3", 0},
                                         Family{"phi3", "phi3", 12}, Family{"gemma2", "gemma2", 12},
                                         Family{"gemma3", "gemma3", 12}, Family{"mixtral", "llama", 0, 4},
                                         Family{"qwen3moe", "qwen3moe", 0, 4}),
                         [](const auto& p) { return p.param.name; });

TEST_P(CalibratedFamily, KeepsItsFunction) {
  const std::vector<float> expected = logits(scratch_ / "model");
  std::string text;
  for (int i = 0; i < 600; ++i) text += std::string(1, static_cast<char>('a' + i * i % 23)) + (i % 5 == 0 ? " " : "");
  for (const auto& [method, format, output] :
       std::vector<std::array<std::string, 3>>{{"awq", "int8:g32", "awq"},
                                               {"smoothquant", "int8:g32", "smoothquant"},
                                               {"gptq", "q8_0", "gptq.gguf"},
                                               {"awq", "q8_0", "awq.gguf"}}) {
    QuantizeModelOptions options;
    choose_format(options, format);
    options.method = method;
    options.output = scratch_ / output;
    options.calibration.texts = {{"text", text}};
    options.calibration.sampling = {.samples = 4, .length = 64, .seed = 0};
    quantize_model(SourceModel::open(scratch_ / "model"), options, machine_, {});
    // Eight bits cost these random weights up to an eighth of the largest logit; a norm that is read or written wrongly
    // costs most of it.
    EXPECT_LT(relative_difference(logits(options.output), expected), 0.2) << method << " " << format;
  }
}

}  // namespace
}  // namespace nibble
