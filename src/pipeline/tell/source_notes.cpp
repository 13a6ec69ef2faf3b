// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/source_notes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/json_text.h"
#include "model/arch/architecture.h"
#include "model/known_family.h"
#include "nibble/error.h"

namespace nibble {
namespace {

bool holds_same_values(const StoredTensor& a, const StoredTensor& b) {
  if (!a.values.format() || !b.values.format() || a.values.rows() != b.values.rows() ||
      a.values.cols() != b.values.cols())
    return false;
  if (a.values.format()->name() == b.values.format()->name() && !a.data.empty() && a.data.size() == b.data.size())
    return std::memcmp(a.data.data(), b.data.data(), a.data.size()) == 0;
  std::vector<float> left(a.values.cols()), right(b.values.cols());
  for (std::uint64_t row = 0; row < a.values.rows(); ++row) {
    a.values.decode_row(row, left);
    b.values.decode_row(row, right);
    if (left != right) return false;
  }
  return true;
}

// Where the source has it, whether or not the model reads it.
const StoredTensor* find_named(const SourceModel& source, const ModelConfig& config, std::string_view part) {
  const auto& names = find_architecture(config.architecture).names;
  const auto name = std::ranges::find(names, part, &TensorName::part);
  return name == names.end() ? nullptr : source.find(source.spelling() == Spelling::gguf ? name->gguf : name->hf);
}

void add_stray_end(const std::string& file, std::string_view key, std::uint64_t id, const ModelConfig& config,
                   std::vector<std::string>& notes) {
  if (id < config.vocab_size) return;
  notes.push_back(
      fmt::format("{}: {} is beyond the vocabulary and ends no text; set it to the token that does: {}, of {} tokens",
                  file, key, id, config.vocab_size));
}

// One id or a list of them; what is neither is left to the tokenizer, which reads them.
void add_stray_ends(const std::string& text, const std::string& file, const ModelConfig& config,
                    std::vector<std::string>& notes) {
  constexpr const char* kKey = "eos_token_id";
  const auto json = parse_json(text, file);
  if (!json.is_object() || !json.contains(kKey)) return;
  const auto& ids = json[kKey];
  for (const auto& id : ids.is_array() ? ids : nlohmann::ordered_json::array({ids}))
    if (id.is_number_unsigned()) add_stray_end(file, kKey, id.get<std::uint64_t>(), config, notes);
}

}  // namespace

std::vector<std::string> stored_form_notes(const Checkpoint& source) {
  std::vector<std::string> notes = source.layer_reading().notes;
  const auto count =
      std::ranges::count_if(source.tensors(), [](const StoredTensor& tensor) { return tensor.type_name == "F64"; });
  if (count != 0)
    notes.push_back(
        fmt::format("{} of {} tensors are stored in F64 and were narrowed to f32", count, source.tensors().size()));
  return notes;
}

const StoredTensor* find_second_head(const SourceModel& source, const ModelConfig& config) {
  return config.tied_embedding ? find_named(source, config, "head") : nullptr;
}

std::string second_head_note(const SourceModel& source, const ModelConfig& config) {
  const StoredTensor* const head = find_second_head(source, config);
  if (head == nullptr) return "";
  const StoredTensor* const embedding = find_named(source, config, "embedding");
  const bool is_same = embedding != nullptr && holds_same_values(*head, *embedding);
  source.release(*head);
  if (is_same) return "";
  return fmt::format(
      "{}: '{}' differs from the embedding, although the configuration ties the two (tie_word_embeddings); the "
      "embedding is used as "
      "the head and '{}' is left out; set tie_word_embeddings to false if it is meant",
      source.path().string(), head->name, head->name);
}

std::string tokenizer_note(const SourceModel& source) {
  try {
    if (source.has_tokenizer()) source.tokenizer();
  } catch (const Error& error) {
    return fmt::format(
        "the tokenizer cannot be used here, so run, eval and chat refuse the model, and what is made of "
        "it: {}",
        error.what());
  }
  return {};
}

bool is_beside_text(const SourceModel& source, const ModelConfig& config, const StoredTensor& tensor) {
  return source.parts().find(tensor.name) == nullptr && find_second_head(source, config) != &tensor;
}

std::string text_part_note(const SourceModel& source, const ModelConfig& config) {
  if (!is_text_part(source)) return "";
  const auto count = std::ranges::count_if(
      source.tensors(), [&](const StoredTensor& tensor) { return is_beside_text(source, config, tensor); });
  if (count == 0) return "";
  return fmt::format(
      "{}: the text part of a model that also reads pictures is used as a model of text alone; {} tensors of its other "
      "parts are left out",
      source.path().string(), count);
}

std::vector<std::string> stray_end_notes(const SourceModel& source, const ModelConfig& config) {
  std::vector<std::string> notes;
  for (const char* const key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (const auto id = source.gguf().unsigned_integer(key))
      add_stray_end(source.path().string(), key, *id, config, notes);
  for (const char* const name : {"generation_config.json", "config.json"}) {
    try {
      if (const auto text = source.read_side_file(name))
        add_stray_ends(*text, (source.path() / name).string(), config, notes);
    } catch (const Error&) {
      // Whoever reads the tokenizer says so.
    }
  }
  return notes;
}

std::vector<std::string> source_notes(const SourceModel& source) {
  std::vector<std::string> notes;
  const auto add = [&](std::string note) {
    if (!note.empty()) notes.push_back(std::move(note));
  };
  std::optional<ModelConfig> config;
  try {
    config = source.config();
  } catch (const Error&) {
    // Whoever runs the model says so.
  }
  if (config) {
    try {
      add(text_part_note(source, *config));
    } catch (const Error&) {
      // Likewise.
    }
    add(second_head_note(source, *config));
    for (std::string& note : stray_end_notes(source, *config)) add(std::move(note));
  }
  for (const std::string& note : stored_form_notes(source)) add(fmt::format("{}: {}", source.path().string(), note));
  return notes;
}

}  // namespace nibble
