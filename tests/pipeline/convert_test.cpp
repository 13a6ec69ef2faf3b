// SPDX-License-Identifier: Apache-2.0
//
// Conversions keep numbers: what another container decodes is what the source decodes, bit for bit, and files that go
// there and back are the files that they were.
#include "pipeline/convert/convert_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <string>

#include "kernels/chosen_isa.h"
#include "model/stored_activations.h"
#include "model/tiny_models.h"
#include "pipeline/export/model_card.h"
#include "pipeline/models.h"
#include "pipeline/tell/inspect.h"

namespace nibble {
namespace {

class Convert : public testing::Test {
 protected:
  ConvertSummary convert(const std::filesystem::path& model, const std::string& output, ConvertOptions options = {}) {
    options.output = scratch_ / output;
    return convert_model(SourceModel::open(model), options, machine_, {});
  }
  std::string refusal(const std::filesystem::path& model, const std::string& output, ConvertOptions options = {}) {
    return error_of([&] { convert(model, output, options); }).second;
  }
  // Every part of both, but for vectors that the containers say otherwise.
  static void expect_same_numbers(const std::filesystem::path& a, const std::filesystem::path& b) {
    const SourceModel first = SourceModel::open(a), second = SourceModel::open(b);
    const Spelling from = second.spelling(), to = first.spelling();
    for (const ModelTensor& part : first.parts().all()) {
      if (part.hf_numbers != StoredNumbers{} && from != to) continue;
      const TensorSource x = first.stored(part).values, y = second.stored(part).values;
      const std::vector<float> own = x.decode(), other = y.decode();
      ASSERT_EQ(own.size(), other.size());
      const bool is_vector = part.shape.size() < 2;
      const std::vector<std::uint32_t> rows = part.rows_from(from, to), cols = part.columns_from(from, to);
      for (std::size_t i = 0; i < own.size(); ++i) {
        const std::size_t row = is_vector ? i : i / x.cols(), col = is_vector ? 0 : i % x.cols();
        const std::size_t at = (rows.empty() ? row : rows[row]) * (is_vector ? 1 : x.cols()) +
                               (cols.empty() || is_vector ? col : cols[col]);
        ASSERT_EQ(own[i], other[at]) << part.hf_name << " " << i;
      }
    }
  }
  std::vector<float> logits_of(const std::filesystem::path& model, const DecoderOptions& options = {}) {
    Decoder decoder(SourceModel::open(model), options, machine_);
    const bool is_small = decoder.config().vocab_size < 200;
    return all_logits(decoder, {5, 17, is_small ? 90 : 190, 3, 42, 42, 8, is_small ? 11 : 111});
  }
  // A network with four experts in each layer, of which two are used: "sparse".
  void synthesize_sparse(std::uint64_t layers) {
    SynthShape shape = find_synth_shape("qwen3-30b-a3b");
    shape.hidden = shape.intermediate = shape.expert_intermediate = 64;
    shape.layers = layers;
    shape.heads = shape.num_experts = 4;
    shape.kv_heads = shape.experts_used = 2;
    shape.head_dim = 32;
    shape.vocab = 300;
    synthesize_model(shape, {.output = scratch_ / "sparse"}, machine_.pool, {});
  }
  static std::set<std::string> formats_of(const ConvertSummary& summary) {
    std::set<std::string> formats;
    for (const ConvertedTensor& tensor : summary.tensors) formats.insert(tensor.to);
    return formats;
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};

TEST_F(Convert, IntegersOfADirectoryFindTheirPlaceInAGgufFile) {
  const std::filesystem::path original = small_synth(scratch_, machine_.pool);
  for (const auto& [format, place] :
       {std::pair("int4:g128", "q4_0"), {"int4:g32:asym", "q5_0"}, {"int8:g32", "q8_0"}}) {
    const std::string name = std::string(place) + ".gguf";
    quantize_to(original, format, scratch_ / place, machine_);
    const ConvertSummary made = convert(scratch_ / place, name);
    EXPECT_EQ(formats_of(made), (std::set<std::string>{"bf16", place})) << format;
    for (const ConvertedTensor& tensor : made.tensors)
      EXPECT_EQ(tensor.conversion, tensor.from == format ? Conversion::exact : Conversion::kept) << tensor.name;
    expect_same_numbers(scratch_ / place, scratch_ / name);
    convert(scratch_ / name, "back");  // a directory keeps blocks as they are
    expect_same_numbers(scratch_ / place, scratch_ / "back");
  }
}

TEST_F(Convert, FilesComeBackAsTheyWere) {
  for (const char* const name : {"tiny_glm", "tiny_qwen3moe", "tiny_qwen35", "tiny_gemma3"}) {
    convert(data_directory() / name, "there.gguf");
    convert(scratch_ / "there.gguf", "back");
    expect_same_numbers(data_directory() / name, scratch_ / "there.gguf");
    convert(scratch_ / "back", "again.gguf");
    const SourceModel there = SourceModel::open(scratch_ / "there.gguf"),
                      again = SourceModel::open(scratch_ / "again.gguf");
    ASSERT_EQ(again.tensors().size(), there.tensors().size());
    for (const StoredTensor& tensor : there.tensors())
      EXPECT_TRUE(std::ranges::equal(again.tensor(tensor.name).data, tensor.data)) << name << " " << tensor.name;
  }
}

// Experts of one stack share a format, though some would find a smaller place.
TEST_F(Convert, ExpertsOfAStackHaveOnePlace) {
  synthesize_sparse(2);
  quantize_to(scratch_ / "sparse", "int4:g32:asym", scratch_ / "q", machine_);
  const ConvertSummary made = convert(scratch_ / "q", "q.gguf");
  std::map<std::string, std::set<std::string>> formats;
  for (const ConvertedTensor& tensor : made.tensors) formats[tensor.name].insert(tensor.to);
  std::size_t stacks = 0;
  for (const auto& [name, of] : formats) {
    EXPECT_EQ(of.size(), 1u) << name;
    stacks += name.find("_exps") != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(stacks, 0u);
  expect_same_numbers(scratch_ / "q", scratch_ / "q.gguf");
}

// Of which some are what they were, and others find their numbers in the format of these.
TEST_F(Convert, ExpertsOfSeveralFormatsKeepTheirNumbers) {
  synthesize_sparse(1);
  QuantizeModelOptions options;
  choose_format(options, "q4_0");
  options.recipe.rules.insert(options.recipe.rules.begin(),
                              {"model.layers.0.mlp.experts.0.up_proj.weight", {}, "q8_0", {}});
  options.output = scratch_ / "q";
  quantize_model(SourceModel::open(scratch_ / "sparse"), options, machine_, {});
  const ConvertSummary made = convert(scratch_ / "q", "q.gguf");
  std::map<Conversion, int> conversions;
  for (const ConvertedTensor& tensor : made.tensors)
    if (tensor.name == "blk.0.ffn_up_exps.weight") {
      EXPECT_EQ(tensor.to, "q8_0");
      ++conversions[tensor.conversion];
    }
  EXPECT_EQ(conversions, (std::map<Conversion, int>{{Conversion::kept, 1}, {Conversion::exact, 3}}));
  expect_same_numbers(scratch_ / "q", scratch_ / "q.gguf");
}

TEST_F(Convert, WritesCodesOut) {
  const std::filesystem::path original = small_synth(scratch_, machine_.pool);
  quantize_to(original, "q4_k", scratch_ / "q.gguf", machine_);
  const ConvertSummary made = convert(scratch_ / "q.gguf", "plain", {.dtype = "f32"});
  EXPECT_EQ(formats_of(made), std::set<std::string>{"f32"});
  expect_same_numbers(scratch_ / "q.gguf", scratch_ / "plain");
}

TEST_F(Convert, RefusesWhatItWouldHaveToRoundAndCountsIt) {
  const std::filesystem::path original = small_synth(scratch_, machine_.pool);
  quantize_to(original, "int8:row", scratch_ / "rows", machine_);
  const std::string places = refusal(scratch_ / "rows", "rows.gguf");
  EXPECT_NE(places.find("q_proj.weight' is int8:row, and its numbers have no place in the formats that are tried"),
            std::string::npos)
      << places;
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "rows.gguf"));
  const std::string type = refusal(scratch_ / "rows", "half.gguf", {.dtype = "f16"});
  EXPECT_NE(type.find("f16 cannot hold its numbers exactly"), std::string::npos) << type;

  const ConvertSummary made = convert(scratch_ / "rows", "half.gguf", {.dtype = "f16", .lossy = true});
  std::uint64_t changed = 0;
  for (const ConvertedTensor& tensor : made.tensors) {
    EXPECT_EQ(tensor.to, "f16");
    if (tensor.conversion != Conversion::rounded) continue;
    changed += tensor.loss.changed;
    EXPECT_GT(tensor.loss.changed, 0u);
    EXPECT_GT(tensor.loss.largest, 0);
    EXPECT_LT(tensor.loss.relative_rms, 0x1p-11);  // a half has eleven bits
    EXPECT_GT(tensor.loss.relative_rms, 0);
  }
  EXPECT_GT(changed, 0u);
}

// The verdict is that of the two files, as whoever judges them afterwards finds it.
TEST_F(Convert, JudgesWhatRoundingCost) {
  const std::filesystem::path original = small_synth(scratch_, machine_.pool);
  quantize_to(original, "int8:row", scratch_ / "rows", machine_);
  std::string text;
  for (int i = 0; i < 200; ++i) text += "line " + std::to_string(i * i) + ", ";
  VerifyOptions verify{.texts = {{"lines", text}}};
  verify.judge.windows.context = 32;
  verify.judge.windows.max_windows = 4;
  verify.judge.kernels.activations = ActivationMode::f32;
  verify.judge.kv = KvType::f32;
  const ConvertSummary made = convert(scratch_ / "rows", "half", {.dtype = "f16", .lossy = true, .verify = verify});
  ASSERT_TRUE(made.verdict);
  const SourceModel rows = SourceModel::open(scratch_ / "rows"), half = SourceModel::open(scratch_ / "half");
  const PairedVerdict after = judge_models(rows, {{"half", &half}}, verify.texts, verify.judge, machine_);
  const MetricFigures &found = made.verdict->candidates.front().overall, &same = after.candidates.front().overall;
  EXPECT_GT(found[Metric::kl_mean].value, 0);
  EXPECT_LT(found[Metric::kl_mean].value, 1e-4);  // halves are within 2^-11 of each number
  EXPECT_EQ(found[Metric::kl_mean].value, same[Metric::kl_mean].value);
  EXPECT_EQ(found[Metric::perplexity].value, same[Metric::perplexity].value);
  EXPECT_NE(read_text(scratch_ / "half" / "README.md").find("## What it lost"), std::string::npos);
  const std::string told = verdict_of_card(half);
  EXPECT_TRUE(told.starts_with("Beside the original, on 4 windows of 32 tokens")) << told;
  EXPECT_TRUE(told.ends_with("Texts: `lines`.\n")) << told;
  const double kl = std::strtod(figure_of_verdict(told, Metric::kl_mean).c_str(), nullptr);
  EXPECT_NEAR(kl, found[Metric::kl_mean].value, 1e-3 * kl);
  EXPECT_EQ(figure_of_verdict(told, Metric::kl_maximum), "");  // the card has others
  EXPECT_EQ(verdict_of_card(rows), "");

  const ConvertSummary exact = convert(scratch_ / "rows", "plain", {.dtype = "f32", .lossy = true, .verify = verify});
  EXPECT_TRUE(exact.is_exact());
  EXPECT_FALSE(exact.verdict);
  verify.texts.front().text = "short";
  EXPECT_NE(refusal(scratch_ / "rows", "none", {.dtype = "f16", .lossy = true, .verify = verify}).find("lines: "),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "none"));
}

TEST_F(Convert, CutsADirectoryIntoShardsAndJoinsThem) {
  const std::filesystem::path original = small_synth(scratch_, machine_.pool);
  convert(original, "cut", {.shard_bytes = 200'000});
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "cut" / "model.safetensors.index.json"));
  EXPECT_GT(SourceModel::open(scratch_ / "cut").tensors().back().file, "model-00002");
  convert(scratch_ / "cut", "joined");
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "joined" / "model.safetensors"));
  expect_same_numbers(original, scratch_ / "cut");
  expect_same_numbers(original, scratch_ / "joined");
}

TEST_F(Convert, OfAWrappedModelKeepsTheTextPart) {
  gemma3_with_pictures("language_model.model.", "").write(scratch_ / "pictures");
  const ConvertSummary made = convert(scratch_ / "pictures", "text.gguf");
  EXPECT_FALSE(made.output.notes.empty());
  expect_same_numbers(data_directory() / "tiny_gemma3", scratch_ / "text.gguf");
}

// What tensors have beside codes and grids goes with them from one directory to another, and nowhere else.
TEST_F(Convert, KeepsInputOrdersAndTensorScales) {
  std::set<TensorPart> seen;
  for (const char* const name : {"tiny_gptq", "tiny_compressed_tensors", "tiny_mlx"}) {
    const std::filesystem::path original = data_directory() / name;
    ConvertSummary made = convert(original, "kept");
    for (const ConvertedTensor& tensor : made.tensors) {
      EXPECT_EQ(tensor.conversion, Conversion::kept) << tensor.name;
      EXPECT_EQ(tensor.to, tensor.from);
    }
    made = convert(scratch_ / "kept", "cut", {.shard_bytes = 20'000});
    EXPECT_TRUE(std::filesystem::exists(scratch_ / "cut" / "model.safetensors.index.json"));
    for (const char* const copy : {"kept", "cut"}) {
      expect_same_numbers(original, scratch_ / copy);
      const SourceModel first = SourceModel::open(original), second = SourceModel::open(scratch_ / copy);
      for (const ModelTensor& part : first.parts().all()) {
        const TensorSource a = first.stored(part).values, b = second.stored(part).values;
        ASSERT_EQ(a.parts() != nullptr, b.parts() != nullptr) << part.hf_name;
        if (a.parts()) {
          EXPECT_EQ(*a.parts(), *b.parts()) << part.hf_name;
          for (const TensorPart one : parts_of(*a.parts())) seen.insert(one);
        }
        QuantizedTensor room, other;
        EXPECT_TRUE(std::ranges::equal(a.read_rows(0, a.rows(), room).planes.planes,
                                       b.read_rows(0, b.rows(), other).planes.planes,
                                       [](auto x, auto y) { return std::ranges::equal(x, y); }))
            << part.hf_name;
      }
      EXPECT_EQ(logits_of(scratch_ / copy), logits_of(original));
      EXPECT_EQ(check_checkpoint(second, 10, machine_.pool, {}).total, 0u);
    }
    std::filesystem::remove_all(scratch_ / "cut");
  }
  EXPECT_EQ(seen, (std::set{TensorPart::input_order, TensorPart::tensor_scale}));

  const std::string order = refusal(data_directory() / "tiny_gptq", "q.gguf");
  EXPECT_NE(
      order.find("q_proj.weight' is int4:g32:asym, and has what the container gguf does not keep (input order); the "
                 "container nibble keeps it, f32 holds its numbers, or let them be rounded"),
      std::string::npos)
      << order;
  convert(data_directory() / "tiny_gptq", "q.gguf", {.dtype = "f32"});
  expect_same_numbers(data_directory() / "tiny_gptq", scratch_ / "q.gguf");
}

// mlx-lm rounds routers, too: they are multiplied as what they stand for, and written as that.
TEST_F(Convert, RoutersInCodesSendTokensWhereTheyDid) {
  const std::filesystem::path original = data_directory() / "tiny_qwen3moe_mlx";
  const auto router = [](const SourceModel& model) {
    return model.stored(*model.parts().part("router", 0)).values.format()->name();
  };
  EXPECT_EQ(router(SourceModel::open(original)), "int8:g64:bias");
  convert(original, "kept");
  EXPECT_EQ(router(SourceModel::open(scratch_ / "kept")), "f32");
  EXPECT_EQ(logits_of(scratch_ / "kept"), logits_of(original));
}

// Biases are offsets of q4_1 and q5_1 where they are halves. MLX's groups of 64 become two blocks.
TEST_F(Convert, BiasesFindTheirPlaceInAGgufFile) {
  const std::filesystem::path original = small_synth(scratch_, machine_.pool);
  for (const auto& [format, place] :
       {std::pair("int4:g32:bias", "q4_1"), {"int4:g64:bias:bf16", "q4_1"}, {"int5:g64:bias", "q5_1"}}) {
    quantize_to(original, format, scratch_ / "biased", machine_);
    const ConvertSummary made = convert(scratch_ / "biased", "biased.gguf");
    EXPECT_EQ(formats_of(made), (std::set<std::string>{"bf16", place})) << format;
    expect_same_numbers(scratch_ / "biased", scratch_ / "biased.gguf");
    const std::vector<float> expected = logits_of(scratch_ / "biased", exact_options());
    EXPECT_LT(relative_difference(logits_of(scratch_ / "biased.gguf", exact_options()), expected), 2e-5) << format;
  }
  for (const char* const format : {"int4:g32:bias:f32", "int8:g64:bias"}) {
    quantize_to(original, format, scratch_ / "biased", machine_);
    EXPECT_NE(refusal(scratch_ / "biased", "none.gguf").find("have no place in the formats that are tried"),
              std::string::npos)
        << format;
  }
}

// By the names that transformers reads, where it reads any.
TEST_F(Convert, SaysWhereNamesOfExpertsAreOurs) {
  for (const auto& [name, is_ours] :
       {std::pair("tiny_gptoss", true), {"tiny_gemma4_moe", true}, {"tiny_mixtral", false}}) {
    const auto count = [&](const QuantizeSummary& summary) {
      return std::ranges::count_if(summary.notes, [](const std::string& note) {
        return note.starts_with("experts are written one by one, by names that are ours: ") &&
               note.find("experts.0.down_proj.weight'") != std::string::npos;
      });
    };
    const std::filesystem::path model = data_directory() / name;
    EXPECT_EQ(count(convert(model, "copy").output), is_ours ? 1 : 0) << name;
    EXPECT_EQ(count(quantize_to(model, "q8_0", scratch_ / "codes", machine_)), is_ours ? 1 : 0) << name;
    EXPECT_EQ(count(convert(model, "file.gguf").output), 0) << name;
    if (is_ours) {
      const std::string strict = refusal(model, "strict", {.strict = true});
      EXPECT_TRUE(strict.starts_with("experts are written one by one")) << strict;
    } else {
      convert(model, "strict", {.strict = true});
    }
  }
}

// What reads the value heads of Qwen 3.5 has its columns elsewhere in the other container: its codes are no longer
// codes of the same groups.
TEST_F(Convert, MovesNoColumnsOfCodes) {
  quantize_to(data_directory() / "tiny_qwen35", "q8_0", scratch_ / "codes.gguf", machine_);
  const std::string refused = refusal(scratch_ / "codes.gguf", "codes");
  EXPECT_NE(refused.find("ssm_out.weight' is q8_0, and its numbers have no place"), std::string::npos) << refused;
  const ConvertSummary made = convert(scratch_ / "codes.gguf", "plain", {.dtype = "f32"});
  expect_same_numbers(scratch_ / "codes.gguf", scratch_ / "plain");
  EXPECT_EQ(formats_of(made), std::set<std::string>{"f32"});
}

TEST_F(Convert, KeepsHowInputsAreRounded) {
  const std::filesystem::path original = small_synth(scratch_, machine_.pool);
  quantize_to(original, "int8:g32+a8:token", scratch_ / "q", machine_);
  convert(scratch_ / "q", "q.gguf", {.strict = true});
  const auto format = read_activations(SourceModel::open(scratch_ / "q.gguf")).format;
  ASSERT_TRUE(format);
  EXPECT_EQ(activation_format_name(*format), "a8:token");
  EXPECT_NE(refusal(scratch_ / "q", "plain", {.dtype = "f32", .strict = true})
                .find("rounding of inputs is left out: a8:token"),
            std::string::npos);
  const ConvertSummary made = convert(scratch_ / "q", "plain", {.dtype = "f32"});
  EXPECT_FALSE(made.output.notes.empty());
}

TEST_F(Convert, NamesTheTensorThatHoldsNoNumber) {
  const std::filesystem::path original = small_synth(scratch_, machine_.pool);
  const std::filesystem::path broken =
      edited_copy(original, scratch_ / "broken", [](const std::string& tensor, std::span<float> values) {
        if (tensor == "model.layers.1.mlp.up_proj.weight") values[5] = NAN;
      });
  for (const bool dry_run : {false, true}) {
    const std::string message = refusal(broken, "out", {.dtype = "f16", .lossy = true, .dry_run = dry_run});
    EXPECT_NE(message.find("'model.layers.1.mlp.up_proj.weight' holds NaN or an infinite value"), std::string::npos)
        << message;
  }
}

// What counts the layers of a file counts those that are written.
TEST_F(Convert, LeavesOutLayersThatGuess) {
  convert(data_directory() / "tiny_qwen35", "whole.gguf");
  const SourceModel whole = SourceModel::open(scratch_ / "whole.gguf");
  const std::uint32_t layers = static_cast<std::uint32_t>(whole.config().layers);
  GgufMetadata metadata = whole.gguf();
  metadata.set("qwen35.nextn_predict_layers", GgufValue::of_u32(1));
  std::vector<PlannedTensor> plan;
  for (const StoredTensor& tensor : whole.tensors())
    plan.push_back({tensor.name, tensor.shape, tensor.values.format()});
  const auto writer = make_gguf_writer(scratch_ / "guessing.gguf", metadata, plan);
  for (std::size_t i = 0; i < plan.size(); ++i) writer->write_rows(i, *whole.tensors()[i].values.planes());
  writer->finish();
  convert(scratch_ / "guessing.gguf", "shorter.gguf");
  const SourceModel shorter = SourceModel::open(scratch_ / "shorter.gguf");
  EXPECT_EQ(shorter.gguf().unsigned_integer("qwen35.block_count"), layers - 1);
  EXPECT_EQ(shorter.gguf().find("qwen35.nextn_predict_layers"), nullptr);
  EXPECT_EQ(shorter.config().recurs.size(), layers - 1);
  EXPECT_EQ(shorter.config().guessing_layers, 0u);
}

TEST_F(Convert, DoesNotTouchWhatIsInTheWay) {
  const std::filesystem::path original = small_synth(scratch_, machine_.pool);
  EXPECT_NE(refusal(original, "small").find("would take the place of the model"), std::string::npos);
  scratch_.write("other.gguf", "not a model");
  EXPECT_NE(refusal(original, "other.gguf"), "");
  EXPECT_EQ(read_text(scratch_ / "other.gguf"), "not a model");
  const ConvertSummary tried = convert(original, "tried.gguf", {.dry_run = true});
  EXPECT_GT(tried.output.output_bytes, 0u);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "tried.gguf"));
}

}  // namespace
}  // namespace nibble
