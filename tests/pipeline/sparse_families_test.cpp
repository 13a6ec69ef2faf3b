// SPDX-License-Identifier: Apache-2.0
//
// Families with experts of which a token is sent to some: what each expert sees is its own tokens, and some see few.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/error_kind.h"
#include "base/random.h"
#include "calibrate/adequacy.h"
#include "engine/decoder.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "pipeline/models.h"
#include "pipeline/quantize/calibrate_model.h"
#include "pipeline/quantize/layer_scales.h"
#include "pipeline/quantize/planned_parts.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

// Of no language: random letters, so that windows differ and all of the model's directions are met.
std::string random_text(int letters) {
  Random random(7);
  std::string text;
  for (int i = 0; i < letters; ++i) text += static_cast<char>(random.below(6) == 0 ? ' ' : 'a' + random.below(26));
  return text;
}

std::vector<std::string> planes_of(const QuantizedView& view) {
  std::vector<std::string> planes;
  for (const auto plane : view.planes) planes.emplace_back(reinterpret_cast<const char*>(plane.data()), plane.size());
  return planes;
}

// Every tensor's bytes by name.
std::map<std::string, std::vector<std::string>> stored_bytes(const std::filesystem::path& model) {
  const SourceModel source = SourceModel::open(model);
  std::map<std::string, std::vector<std::string>> bytes;
  for (const StoredTensor& tensor : source.tensors()) bytes[tensor.name] = planes_of(*tensor.values.planes());
  return bytes;
}

// The mean over tokens of the divergence of b's predictions from a's, in nats.
double mean_divergence(const std::vector<float>& a, const std::vector<float>& b, std::size_t vocab) {
  double sum = 0;
  for (std::size_t at = 0; at < a.size(); at += vocab) {
    const auto logarithm = [&](const std::vector<float>& logits) {
      double total = 0;
      for (std::size_t i = 0; i < vocab; ++i) total += std::exp(static_cast<double>(logits[at + i]));
      return std::log(total);
    };
    const double of_a = logarithm(a), of_b = logarithm(b);
    for (std::size_t i = 0; i < vocab; ++i) {
      const double p = static_cast<double>(a[at + i]) - of_a, q = static_cast<double>(b[at + i]) - of_b;
      sum += std::exp(p) * (p - q);
    }
  }
  return sum / (static_cast<double>(a.size()) / static_cast<double>(vocab));
}

struct Family {
  std::string name, architecture;
};
void PrintTo(const Family& family, std::ostream* out) { *out << family.name; }

class SparseFamily : public testing::TestWithParam<Family> {
 protected:
  static constexpr std::uint64_t kLayers = 2, kExperts = 8, kUsed = 2, kWindow = 64, kWindows = 20;

  SparseFamily() {
    SynthShape shape = small_shape(GetParam().architecture, kLayers, 64);
    shape.num_experts = kExperts;
    shape.experts_used = kUsed;
    shape.expert_intermediate = 64;
    spread_synth(shape, scratch_, machine_.pool);
    source_.emplace(SourceModel::open(scratch_ / "model"));
  }

  CalibrationResult see(std::uint64_t windows) {
    return calibrate_model(*source_, texts_,
                           {.sampling = {.samples = windows, .length = kWindow}, .collect = {.second_moments = true}},
                           machine_);
  }
  QuantizeModelOptions options(const std::string& method, const std::string& format, const std::string& output) const {
    QuantizeModelOptions options;
    choose_format(options, format);
    options.method = method;
    options.output = scratch_ / output;
    options.calibration.texts = texts_;
    options.calibration.sampling = {.samples = kWindows, .length = kWindow};
    return options;
  }
  QuantizeSummary quantize(const QuantizeModelOptions& options) {
    std::filesystem::remove_all(options.output);
    return quantize_model(*source_, options, machine_, {});
  }
  // Of the windows that were calibrated on.
  std::vector<float> logits(const std::filesystem::path& path) {
    Decoder decoder(SourceModel::open(path), exact_options(), machine_);
    const CalibrationTokens tokens =
        choose_windows(texts_, source_->tokenizer(), {.samples = kWindows, .length = kWindow}, 128);
    std::vector<float> all;
    for (std::size_t window = 0; window < tokens.windows(); ++window) {
      const std::span<const std::int32_t> ids = tokens.window(window);
      const std::vector<float> some = all_logits(decoder, {ids.begin(), ids.end()});
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  }
  double loss_of(const std::filesystem::path& path) {
    if (original_.empty()) original_ = logits(scratch_ / "model");
    return mean_divergence(original_, logits(path), 300);
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  std::vector<CalibrationText> texts_ = {{"text", random_text(4000)}};
  std::optional<SourceModel> source_;
  std::vector<float> original_;
};
INSTANTIATE_TEST_SUITE_P(All, SparseFamily,
                         testing::Values(Family{"mixtral", "llama"}, Family{"qwen3moe", "qwen3moe"},
                                         Family{"gptoss", "gptoss"}, Family{"gemma4", "gemma4"}),
                         [](const auto& p) { return p.param.name; });

TEST_P(SparseFamily, LosesLessByWhatItsExpertsSee) {
  quantize(options("rtn", "int4:g32", "nearest"));
  const double nearest = loss_of(scratch_ / "nearest");
  quantize(options("gptq", "int4:g32", "gptq"));
  EXPECT_LT(loss_of(scratch_ / "gptq"), 0.5 * nearest);
  for (const char* const transform : {"awq", "smoothquant"}) {
    QuantizeModelOptions both = options("gptq", "int4:g32", transform);
    both.transform = transform;
    quantize(both);
    EXPECT_LT(loss_of(scratch_ / transform), 0.5 * nearest) << transform;
  }
}

// What a transform moves from weights to weights, without any rounding.
TEST_P(SparseFamily, KeepsItsFunctionWhereScalesAreFolded) {
  const Statistics seen = see(kWindows).statistics;
  for (const char* const method : {"awq", "smoothquant"}) {
    const QuantizeModelOptions request = options(method, "int4:g32", "unwritten");
    const QuantizePlan plan = plan_quantization(*source_, request);
    const PlannedParts parts(plan, request);
    std::map<std::string, std::vector<float>> folded;
    for (std::int64_t layer = 0; layer < static_cast<std::int64_t>(kLayers); ++layer) {
      LayerWeights weights(*source_, parts.tensors(), layer, machine_.pool);
      LayerScales scales;
      scales.fold(parts, layer, seen, weights, machine_);
      // Smoothing is of norms' outputs alone, and nothing passes a bounded gate.
      const bool by_expert = std::string_view(method) == "awq" && source_->config().swiglu_limit == 0;
      for (std::int64_t e = 0; e < static_cast<std::int64_t>(kExperts); ++e) {
        const DrawnGraph& drawing = parts.drawing(layer);
        EXPECT_FALSE(scales.columns(*drawing.find_site("experts_in"), e).empty()) << method;
        EXPECT_EQ(scales.columns(*drawing.find_site("experts_out"), e).empty(), !by_expert) << method;
      }
      for (const auto& [part, matrix] : weights.all()) folded[parts.tensor(part, layer).hf_name] = matrix.values;
    }
    std::size_t changed = 0;
    const std::filesystem::path made =
        edited_copy(scratch_ / "model", scratch_ / method, [&](const std::string& name, std::span<float> values) {
          const auto found = folded.find(name);
          if (found == folded.end()) return;
          changed += std::ranges::equal(values, found->second) ? 0 : 1;
          std::ranges::copy(found->second, values.begin());
        });
    EXPECT_GT(changed, kLayers * kExperts * 2) << method;
    EXPECT_LT(relative_difference(logits(made), logits(scratch_ / "model")), 1e-4) << method;
  }
}

// Statistics that were written and read tell what those in memory do. Text, unlike statistics, follows what has been
// quantized before (true-sequential): only what comes before all that has the same bytes by it, and whatever looks at
// the original alone. (Inputs that a transform has scaled are measured of a text and scaled in statistics, which differ
// in last bits: of awq the norm that takes the scales is looked at.)
TEST_P(SparseFamily, GetsTheSameBytesByStatisticsOfTheSameText) {
  const Statistics seen = see(kWindows).statistics;
  save_statistics(seen, *source_, scratch_ / "s.safetensors");
  const Statistics read = load_statistics(scratch_ / "s.safetensors", *source_);
  const auto by = [&](QuantizeModelOptions request, const Statistics* statistics) {
    request.calibration.statistics = statistics;
    request.calibration.follow_original = false;
    quantize(request);
    return stored_bytes(request.output);
  };
  for (const std::string method : {"gptq", "awq"}) {
    const QuantizeModelOptions request = options(method, "int4:g32", "out");
    const auto in_memory = by(request, &seen), by_text = by(request, nullptr);
    EXPECT_TRUE(by(request, &read) == in_memory) << method;
    const std::string first =
        method == "gptq" ? "model.layers.0.self_attn.q_proj.weight" : "model.layers.0.input_layernorm.weight";
    EXPECT_TRUE(by_text.at(first) == in_memory.at(first)) << method;
    const std::string last = "model.layers.1.self_attn.q_proj.weight";
    EXPECT_FALSE(by_text.at(last) == in_memory.at(last)) << method;
  }
  const QuantizeModelOptions request = options("rtn", "int8:row+a8:static", "out");
  EXPECT_TRUE(by(request, &read) == by(request, nullptr));
}

// The scales of an expert that saw too few tokens come from what it saw and what all see, whichever way that is known:
// layer 0 meets the same numbers either way, and up, which the scales of down's columns are folded into, stays exact.
TEST_P(SparseFamily, ScalesItsExpertsAlikeByTextAndByItsStatistics) {
  const Statistics seen = see(2).statistics;
  ASSERT_GT(expert_tokens(seen).front().few, 0u);
  QuantizeModelOptions request = options("awq", "int4:g32", "out");
  request.calibration.sampling.samples = 2;
  request.exclude = {GetParam().name == "mixtral" ? "*.w3.weight" : "*.up_proj.weight"};
  quantize(request);
  const auto by_text = stored_bytes(request.output), original = stored_bytes(scratch_ / "model");
  request.calibration.statistics = &seen;
  quantize(request);
  const auto by_statistics = stored_bytes(request.output);
  for (std::uint64_t e = 0; e < kExperts; ++e) {
    const std::string& up = source_->parts().part(expert_part("expert_up", e), 0)->hf_name;
    EXPECT_TRUE(by_text.at(up) == by_statistics.at(up)) << up;
    EXPECT_FALSE(by_text.at(up) == original.at(up)) << up;
  }
}

// Few tokens: some experts see too few or none, and nothing is refused or left without a word.
TEST_P(SparseFamily, IsQuantizedWhereExpertsSeeFewTokens) {
  constexpr std::uint64_t kFew = 3;
  const CalibrationResult seen = see(kFew);
  std::map<std::int64_t, std::uint64_t> tokens;
  for (const SiteStatistics& site : seen.statistics.sites)
    if (site.expert >= 0 && site.site == "experts_in") tokens[site.layer] += site.count;
  ASSERT_EQ(tokens.size(), kLayers);
  for (const auto& [layer, count] : tokens) EXPECT_EQ(count, kUsed * kWindow * kFew);
  EXPECT_TRUE(std::ranges::any_of(seen.warnings, [](const std::string& line) {
    return line.find("of 16 experts were sent too few tokens") != std::string::npos;
  }));
  save_statistics(seen.statistics, *source_, scratch_ / "s.safetensors");
  save_statistics(seen.statistics, *source_, scratch_ / "i.gguf");
  save_statistics(seen.statistics, *source_, scratch_ / "i.dat");
  struct Case {
    std::string method, format, given, nearest;
    double share;  // of the nearest values' loss that may be lost
  };
  std::map<std::string, double> nearest;  // loss by format
  for (const char* const format : {"q4_0", "int4:g32"}) {
    const std::string output = format == std::string_view("q4_0") ? "nearest.gguf" : "nearest";
    quantize(options("rtn", format, output));
    nearest[format] = loss_of(scratch_ / output);
  }
  // Of few tokens scales alone gain nothing with random weights.
  for (const Case& c : std::vector<Case>{{"gptq", "q4_0", "", "q4_0", 0.7},
                                         {"gptq", "int4:g32", "s.safetensors", "int4:g32", 0.7},
                                         {"awq", "int4:g32", "s.safetensors", "int4:g32", 1.1},
                                         {"imatrix", "q4_0", "i.gguf", "q4_0", 0.95},
                                         {"imatrix", "q4_0", "i.dat", "q4_0", 0.95},
                                         {"gptq", "q8_0+a8:static", "", "q4_0", 0.1},
                                         {"rtn", "int8:row+a8:static", "", "int4:g32", 0.1}}) {
    const std::string ending = c.format[0] == 'q' ? ".gguf" : "";
    QuantizeModelOptions request = options(c.method, c.format, c.method + ending);
    request.calibration.sampling.samples = kFew;
    Statistics statistics;
    if (!c.given.empty())
      request.calibration.statistics = &(statistics = load_statistics(scratch_ / c.given, *source_));
    std::vector<LayerReport> layers;
    request.on_layer = [&](const LayerReport& report) { layers.push_back(report); };
    const QuantizeSummary summary = quantize(request);
    const std::string name = c.method + " " + c.format + " " + c.given;
    // llama.cpp rounds the borders of yarn; transformers reads some families' experts from stacks alone.
    const bool is_noted = ending.empty() ? source_->parts().architecture().hf_stacks_experts
                                         : source_->config().rope.scaling == RopeScaling::yarn;
    EXPECT_EQ(summary.notes.size(), is_noted ? 1u : 0u) << name;
    EXPECT_TRUE(summary.uninformed.empty()) << name << ": " << summary.uninformed.front();
    if (c.method == "gptq") {
      ASSERT_EQ(layers.size(), kLayers) << name;
      EXPECT_GT(layers[0].experts.few, 0u) << name;
    }
    EXPECT_LT(loss_of(request.output), c.share * nearest.at(c.nearest)) << name;
  }
}

// A stack for each kind of experts' tensors, as MLX has them, in place of what the tiny models have.
TEST(ExpertStacks, OfOneKindAreTheSameExperts) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  const auto logits = [&](const std::filesystem::path& path) {
    const std::vector<std::int32_t> ids = {7, 30, 99, 4};
    Decoder decoder(SourceModel::open(path), exact_options(), machine);
    return all_logits(decoder, ids);
  };
  for (const std::string name : {"tiny_mixtral", "tiny_qwen3moe", "tiny_gptoss"}) {
    const SourceModel source = SourceModel::open(data_directory() / name);
    EditableModel model = EditableModel::read(data_directory() / name);
    std::string last;
    for (const ModelTensor& part : source.parts().all()) {
      if (part.experts == 0) continue;
      last = part.hf_own_stack;
      ASSERT_NE(last, "") << part.hf_name;
      model.tensors.erase(part.hf_name);
      model.tensors.erase(part.hf_stack);
      EditableModel::Stored& stack = model.tensors[last];
      stack.dtype = "F32";
      stack.shape = part.shape;
      stack.shape.insert(stack.shape.begin(), part.experts);
      const std::vector<float> values = source.stored(part).values.decode();
      stack.bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    }
    model.write(scratch / name);
    EXPECT_EQ(logits(scratch / name), logits(data_directory() / name)) << name;
    ++model.tensors[last].shape.front();
    model.tensors[last].bytes.append(model.tensors[last].bytes.size() / (model.tensors[last].shape.front() - 1), '\0');
    model.write(scratch / name);
    const std::string message = error_of([&] { logits(scratch / name); }).second;
    EXPECT_NE(message.find("'" + last + "'"), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace nibble
