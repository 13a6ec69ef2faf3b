// SPDX-License-Identifier: Apache-2.0
//
// Sources that hold something in an unusual way: what is read of them, what the summary says, and what is refused when
// nothing may be lost.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/checkpoint_writer.h"
#include "kernels/chosen_isa.h"
#include "model/config.h"
#include "model/known_family.h"
#include "model/tiny_models.h"
#include "pipeline/quantize/quantize_model.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/tell/memory_plan.h"
#include "pipeline/tell/source_notes.h"

namespace nibble {
namespace {

constexpr const char* kNoTokenizer =
    "no tokenizer lies beside the weights, so the GGUF file has none, and programs that read text cannot run it";

class SourceNotes : public ::testing::Test {
 protected:
  QuantizeSummary quantize(const std::filesystem::path& model, const std::filesystem::path& output,
                           bool strict = false) {
    QuantizeModelOptions options{.recipe = find_recipe("f32"), .output = output, .strict = strict};
    return quantize_model(SourceModel::open(model), options, machine_, {});
  }

  std::vector<float> logits_of(const std::filesystem::path& path, const std::vector<std::int32_t>& ids) {
    Decoder decoder(SourceModel::open(path), exact_options(), machine_);
    return all_logits(decoder, ids);
  }

  // The model as it is, as a GGUF file and as a directory made of that: each is one that runs, with the same logits.
  void expect_survives(const EditableModel& model, const std::vector<std::int32_t>& ids) {
    const auto source = scratch_ / "source", gguf = scratch_ / "m.gguf", back = scratch_ / "back";
    model.write(source);
    const std::vector<float> logits = logits_of(source, ids);
    quantize(source, gguf);
    // q and k rows lie in another order in GGUF files: sums in another order.
    EXPECT_LT(relative_difference(logits_of(gguf, ids), logits), 1e-5);
    quantize(gguf, back);
    EXPECT_EQ(logits_of(back, ids), logits);
  }

  Machine machine_{chosen_isa(), 2};
  ScratchDirectory scratch_;
};

std::string floats(std::size_t count) {
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) {
    const float value = 0.01f * static_cast<float>(static_cast<int>(i * 37 % 101) - 50);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return bytes;
}

TEST_F(SourceNotes, MatricesOfOneRow) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_gqa_llama3rope");
  const std::uint64_t hidden = model.config["hidden_size"];
  model.config["intermediate_size"] = 1;
  for (auto& [name, tensor] : model.tensors) {
    if (name.ends_with("gate_proj.weight") || name.ends_with("up_proj.weight"))
      tensor = {"F32", {1, hidden}, floats(hidden)};
    if (name.ends_with("down_proj.weight")) tensor = {"F32", {hidden, 1}, floats(hidden)};
  }
  expect_survives(model, {3, 250, 17});
}

TEST_F(SourceNotes, AVocabularyOfOneToken) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_gqa_llama3rope");
  const std::uint64_t hidden = model.config["hidden_size"];
  model.config["vocab_size"] = 1;
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"})
    model.tensors.at(name) = {"F32", {1, hidden}, floats(hidden)};
  expect_survives(model, {0, 0});
}

TEST_F(SourceNotes, NormsStoredAsMatrices) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_gqa_llama3rope");
  for (auto& [name, tensor] : model.tensors)
    if (name.ends_with("norm.weight")) tensor.shape.insert(tensor.shape.begin(), 1);
  expect_survives(model, {3, 250, 17});
}

TEST_F(SourceNotes, WhatIsWrittenMustBeAModel) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_tied");
  model.write(scratch_ / "m");
  const SourceModel checkpoint = SourceModel::open(scratch_ / "m");
  QuantizePlan meant;
  meant.config = checkpoint.config();
  EXPECT_NO_THROW(require_readable(checkpoint, meant, "OUT"));
  ++meant.config.intermediate;
  EXPECT_EQ(error_of([&] { require_readable(checkpoint, meant, "OUT"); }),
            std::pair(ErrorKind::internal, std::string("OUT: read back has another configuration")));
  --meant.config.intermediate;
  model.tensors.at("model.norm.weight").shape = {2, model.tensors.at("model.norm.weight").shape[0] / 2};
  model.write(scratch_ / "n");
  const auto [kind, text] = error_of([&] { require_readable(SourceModel::open(scratch_ / "n"), meant, "OUT"); });
  EXPECT_EQ(kind, ErrorKind::internal);
  EXPECT_TRUE(text.starts_with("OUT: read back is no model: " + (scratch_ / "n/model.safetensors").string() +
                               ": tensor 'model.norm.weight' is ["))
      << text;
}

TEST_F(SourceNotes, DoublesAreNarrowed) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_gqa_llama3rope");
  model.write(scratch_ / "single");
  std::size_t widened = 0;
  for (auto& [name, tensor] : model.tensors) {
    if (name.find("layers.0") == std::string::npos || tensor.dtype != "F32") continue;
    std::string bytes;
    for (std::size_t i = 0; i < tensor.bytes.size(); i += sizeof(float)) {
      float value;
      std::memcpy(&value, tensor.bytes.data() + i, sizeof value);
      const double wide = value;
      bytes.append(reinterpret_cast<const char*>(&wide), sizeof wide);
    }
    tensor.dtype = "F64";
    tensor.bytes = bytes;
    ++widened;
  }
  ASSERT_GT(widened, 0u);
  model.write(scratch_ / "double");
  quantize(scratch_ / "single", scratch_ / "a.gguf");
  const QuantizeSummary summary = quantize(scratch_ / "double", scratch_ / "b.gguf");
  const SourceModel a = SourceModel::open(scratch_ / "a.gguf"), b = SourceModel::open(scratch_ / "b.gguf");
  for (const StoredTensor& tensor : a.tensors())
    EXPECT_EQ(tensor.values.decode(), b.tensor(tensor.name).values.decode()) << tensor.name;
  const std::string note = std::to_string(widened) + " of " + std::to_string(summary.tensors.size()) +
                           " tensors are stored in F64 and were narrowed to f32";
  EXPECT_EQ(summary.notes.at(0), note);
  EXPECT_EQ(source_notes(SourceModel::open(scratch_ / "double")),
            std::vector{(scratch_ / "double").string() + ": " + note});
  EXPECT_TRUE(source_notes(SourceModel::open(scratch_ / "single")).empty());
}

TEST_F(SourceNotes, ATiedModelsSecondHead) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_tied");
  model.tensors["lm_head.weight"] = model.tensors.at("model.embed_tokens.weight");
  model.write(scratch_ / "same");
  const QuantizeSummary same = quantize(scratch_ / "same", scratch_ / "same.gguf");
  EXPECT_EQ(same.notes, std::vector<std::string>{kNoTokenizer});
  EXPECT_TRUE(same.ignored.empty());
  model.tensors["lm_head.weight"].bytes[0] ^= 1;
  model.write(scratch_ / "other");
  const std::string expected =
      (scratch_ / "other").string() +
      ": 'lm_head.weight' differs from the embedding, although the configuration ties the two (tie_word_embeddings); "
      "the embedding is "
      "used as the head and 'lm_head.weight' is left out; set tie_word_embeddings to false if it is meant";
  EXPECT_EQ(quantize(scratch_ / "other", scratch_ / "other.gguf").notes.at(0), expected);
  EXPECT_EQ(source_notes(SourceModel::open(scratch_ / "other")), std::vector{expected});
  EXPECT_EQ(error_of([&] { quantize(scratch_ / "other", scratch_ / "strict.gguf", true); }),
            std::pair(ErrorKind::unsupported, expected));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "strict.gguf"));
}

TEST_F(SourceNotes, EndsOfATextThatAreNoTokens) {
  EditableModel model = EditableModel::read(data_directory() / "tiny_tied");
  const std::uint64_t vocabulary = model.config["vocab_size"];
  const auto notes_with = [&](const nlohmann::json& configured, const std::string& generation) {
    model.config["eos_token_id"] = configured;
    model.write(scratch_ / "m");
    scratch_.write("m/generation_config.json", generation);
    return source_notes(SourceModel::open(scratch_ / "m"));
  };
  const auto note = [&](const char* file, std::uint64_t id) {
    return fmt::format(
        "{}: eos_token_id is beyond the vocabulary and ends no text; set it to the token that does: {}, of {} tokens",
        (scratch_ / "m" / file).string(), id, vocabulary);
  };
  EXPECT_TRUE(notes_with(vocabulary - 1, R"({"eos_token_id": [0, 1]})").empty());
  EXPECT_TRUE(notes_with(nullptr, "{}").empty());
  EXPECT_TRUE(notes_with(-1, "no JSON").empty());  // which the tokenizer's reader refuses
  EXPECT_EQ(notes_with(vocabulary, "{}"), std::vector{note("config.json", vocabulary)});
  EXPECT_EQ(notes_with(1, R"({"eos_token_id": [1, 99999, 2]})"), std::vector{note("generation_config.json", 99999)});
  const QuantizeSummary summary = quantize(scratch_ / "m", scratch_ / "m.gguf");
  EXPECT_EQ(summary.notes, (std::vector<std::string>{note("generation_config.json", 99999), kNoTokenizer}));

  GgufMetadata metadata = SourceModel::open(scratch_ / "m.gguf").gguf();
  metadata.set("tokenizer.ggml.eot_token_id", GgufValue::of_u32(99999));
  metadata.set("tokenizer.ggml.eos_token_id", GgufValue::of_u32(1));
  metadata.set("llama.vocab_size", GgufValue::of_u32(2));
  const std::vector<PlannedTensor> plan = {{"token_embd.weight", {2, 1}, find_format("f32")}};
  const auto writer = make_gguf_writer(scratch_ / "stray.gguf", metadata, plan);
  writer->write_rows(0, QuantizedTensor(find_format("f32"), 2, 1).view());
  writer->finish();
  EXPECT_EQ(source_notes(SourceModel::open(scratch_ / "stray.gguf")),
            std::vector{(scratch_ / "stray.gguf").string() +
                        ": tokenizer.ggml.eot_token_id is beyond the vocabulary and ends no text; "
                        "set it to the token that does: 99999, of 2 tokens"});
}

// A GGUF file keeps its tokenizer's keys, of a kind that is not read here too: said when it is copied, not when it is
// run in vain.
TEST_F(SourceNotes, ATokenizerThatCannotBeUsed) {
  EditableModel::read(data_directory() / "tiny_tied").write(scratch_ / "m");
  quantize(scratch_ / "m", scratch_ / "m.gguf");
  const SourceModel whole = SourceModel::open(scratch_ / "m.gguf");
  EXPECT_EQ(tokenizer_note(whole), "");  // it has none
  GgufMetadata metadata = whole.gguf();
  metadata.set("tokenizer.ggml.model", GgufValue::of_string("bert"));
  std::vector<PlannedTensor> plan;
  for (const StoredTensor& tensor : whole.tensors())
    plan.push_back({tensor.name, tensor.shape, tensor.values.format()});
  const auto writer = make_gguf_writer(scratch_ / "bert.gguf", metadata, plan);
  for (std::size_t i = 0; i < plan.size(); ++i) writer->write_rows(i, *whole.tensors()[i].values.planes());
  writer->finish();
  const SourceModel source = SourceModel::open(scratch_ / "bert.gguf");
  const std::string reason = error_of([&] { source.tokenizer(); }).second;
  EXPECT_NE(reason.find("bert"), std::string::npos) << reason;
  const std::string note =
      "the tokenizer cannot be used here, so run, eval and chat refuse the model, and what is made of it: " + reason;
  EXPECT_EQ(tokenizer_note(source), note);
  EXPECT_EQ(quantize(scratch_ / "bert.gguf", scratch_ / "again.gguf").notes, std::vector{note});
  EXPECT_EQ(plan_memory({.model = (scratch_ / "bert.gguf").string(), .memory = 1'000'000'000}).notes,
            std::vector{note});
}

TEST_F(SourceNotes, TokensThatGgufCannotHold) {
  EditableModel::read(data_directory() / "tiny_tied").write(scratch_ / "m");
  const auto vocabulary = [] {
    nlohmann::json json = nlohmann::json::object();
    int id = 0;
    for (int byte = 0; byte < 256; ++byte) {
      std::string text;  // as byte-level BPE spells it
      const int spelt =
          (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae ? byte : 256 + id++;
      if (spelt < 0x80) {
        text = static_cast<char>(spelt);
      } else {
        text = {static_cast<char>(0xc0 | spelt >> 6), static_cast<char>(0x80 | (spelt & 0x3f))};
      }
      if (byte > 0) json[text] = byte;  // the first id is for an added token
    }
    return json;
  }();
  nlohmann::json tokenizer = {{"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                              {"decoder", {{"type", "ByteLevel"}}},
                              {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array()}}}};
  scratch_.write("m/tokenizer.json", tokenizer.dump());
  EXPECT_EQ(quantize(scratch_ / "m", scratch_ / "plain.gguf", true).notes, std::vector<std::string>());
  tokenizer["added_tokens"] = {{{"id", 0}, {"content", "mask"}, {"special", false}, {"single_word", true}}};
  scratch_.write("m/tokenizer.json", tokenizer.dump());
  const QuantizeSummary summary = quantize(scratch_ / "m", scratch_ / "lossy.gguf");
  ASSERT_EQ(summary.notes.empty(), false);
  EXPECT_NE(summary.notes[0].find("(lstrip, rstrip, single_word)"), std::string::npos) << summary.notes[0];
  const auto [kind, text] = error_of([&] { quantize(scratch_ / "m", scratch_ / "strict.gguf", true); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_EQ(text, summary.notes[0]);
}

// The text part alone is a model, in either container; what reads pictures is left out, once and not tensor by tensor.
TEST_F(SourceNotes, OfModelsThatReadPictures) {
  const ReferenceLogits reference = ReferenceLogits::read("tiny_gemma3");
  gemma3_with_pictures("language_model.model.", "").write(scratch_ / "source");
  const std::string note = (scratch_ / "source").string() +
                           ": the text part of a model that also reads pictures is used as a model of text alone; 2 "
                           "tensors of its other parts are left out";
  const std::vector<std::string> told = source_notes(SourceModel::open(scratch_ / "source"));
  EXPECT_NE(std::ranges::find(told, note), told.end());
  const std::vector<float> logits = logits_of(scratch_ / "source", reference.ids);
  for (const char* const output : {"m.gguf", "directory"}) {
    const QuantizeSummary summary = quantize(scratch_ / "source", scratch_ / output);
    EXPECT_NE(std::ranges::find(summary.notes, note), summary.notes.end()) << output;
    EXPECT_EQ(summary.ignored, std::vector<std::string>()) << output;
    EXPECT_LT(relative_difference(logits_of(scratch_ / output, reference.ids), logits), 2e-5) << output;
    EXPECT_FALSE(is_text_part(SourceModel::open(scratch_ / output))) << output;
  }
  const auto config = nlohmann::json::parse(read_text(scratch_ / "directory" / "config.json"));
  EXPECT_EQ(config["architectures"], nlohmann::json({"Gemma3ForCausalLM"}));
  EXPECT_FALSE(config.contains("vision_config"));
  const auto [kind, text] = error_of([&] { quantize(scratch_ / "source", scratch_ / "strict.gguf", true); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_EQ(text, note);
}

}  // namespace
}  // namespace nibble
