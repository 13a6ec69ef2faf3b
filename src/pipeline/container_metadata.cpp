// SPDX-License-Identifier: Apache-2.0
#include "pipeline/container_metadata.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <nlohmann/json.hpp>

#include "io/json_text.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "nibble/model.h"
#include "pipeline/recipe_json.h"
#include "quantize/fit/fit_rule.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

// What may lie beside the weights of a directory and means the same for its quantized copy, beside the tokenizer.
constexpr std::array kKeptFiles = {"generation_config.json", "LICENSE"};

// transformers' name of the unquantized tensors' type.
std::string torch_dtype(const QuantizePlan& plan) {
  for (const TensorPlan& tensor : plan.tensors)
    if (tensor.target.format->info().kind == FormatKind::raw && tensor.rows > 1) {
      const std::string& name = tensor.target.format->name();
      return name == "f16" ? "float16" : name == "bf16" ? "bfloat16" : "float32";
    }
  return "float16";
}

std::string translated_config(const SourceModel& source, const QuantizePlan& plan) {
  const auto id = [&](const char* key) -> std::optional<std::int64_t> {
    const auto value = source.gguf().unsigned_integer(key);
    return value ? std::optional(static_cast<std::int64_t>(*value)) : std::nullopt;
  };
  HfConfigOptions options;
  options.dtype = torch_dtype(plan);
  options.bos_token_id = id("tokenizer.ggml.bos_token_id");
  options.eos_token_id = id("tokenizer.ggml.eos_token_id");
  return to_huggingface_config(plan.config, options);
}

std::string kept_config(const SourceModel& source, const QuantizePlan& plan) {
  Json config = parse_json(source.config_json(), (source.path() / "config.json").string());
  // A foreign quantization_config would describe tensors that are no longer there.
  config.erase("quantization_config");
  const char* const key = config.contains("dtype") && !config.contains("torch_dtype") ? "dtype" : "torch_dtype";
  config[key] = torch_dtype(plan);
  return dump_json(config, 2) + "\n";
}

std::string hash_text(std::uint64_t hash) { return fmt::format("{:016x}", hash); }

// What the statistics came from, by content: nothing when no text and no statistics were given.
Json calibration_record(const Calibration& calibration, const ModelConfig& config) {
  Json record;
  if (calibration.statistics != nullptr) {
    std::uint64_t hash = 0;
    for (const SiteStatistics& site : calibration.statistics->sites)
      for (const std::vector<float>* const values : {&site.mean_square, &site.absmax, &site.second_moment})
        hash = XXH3_64bits_withSeed(values->data(), values->size() * sizeof(float), hash);
    record["statistics"] = hash_text(hash);
    return record;
  }
  if (calibration.texts.empty()) return record;
  for (const CalibrationText& text : calibration.texts)
    record["texts"].push_back({{"name", text.name}, {"xxh3", hash_text(XXH3_64bits(text.text.data(), text.text.size()))}});
  record["samples"] = calibration.sampling.samples;
  record["length"] = calibration.sampling.length;
  record["seed"] = calibration.sampling.seed;
  if (calibration.sampling.parse_special) record["special_tokens"] = true;
  record["arithmetic"] = walk_arithmetic_name(resolve_walk_arithmetic(calibration.walk, config));
  return record;
}

}  // namespace

std::string make_manifest(const QuantizePlan& plan, const QuantizeModelOptions& options, const std::string& source_hash) {
  Json manifest;
  manifest["nibble"] = version();
  manifest["source"] = {{"tensors", plan.tensors.size()}, {"xxh3", source_hash}};
  manifest["recipe"] = Json::parse(recipe_to_json(plan.recipe));
  manifest["method"] = options.method;
  if (options.fit) manifest["fit"] = fit_spelling(*options.fit);
  if (options.activations) {
    manifest["activations"]["format"] = activation_format_name(options.activations->format);
    if (options.activations->format.is_static()) manifest["activations"]["fit"] = fit_spelling(options.activations->fit);
  }
  if (!options.transform.empty()) manifest["transform"] = options.transform;
  if (!options.round.empty()) manifest["round"] = options.round;
  if (options.smoothquant_alpha) manifest["alpha"] = *options.smoothquant_alpha;
  if (Json calibration = calibration_record(options.calibration, plan.config); !calibration.empty()) manifest["calibration"] = std::move(calibration);
  return manifest.dump();
}

void note_tokenizer_losses(const SourceModel& source, bool strict, QuantizePlan& plan) {
  if (plan.source_spelling == Spelling::gguf || plan.target_spelling != Spelling::gguf) return;
  if (!source.has_tokenizer()) {
    plan.notes.push_back("no tokenizer lies beside the weights, so the GGUF file has none, and programs that read text cannot run it");
    return;
  }
  const Tokenizer& tokenizer = source.tokenizer();
  for (std::string& loss : tokenizer.lost_in_gguf(tokenizer.to_gguf(plan.config.vocab_size))) add_loss(std::move(loss), strict, plan.notes);
}

GgufMetadata make_gguf_metadata(const SourceModel& source, const QuantizePlan& plan, const StoredActivations& activations,
                                const std::string& manifest) {
  GgufMetadata metadata;
  if (plan.source_spelling == Spelling::gguf) {
    metadata = source.gguf();
    for (const char* key : {"split.no", "split.count", "split.tensors.count"}) metadata.erase(key);
    if (plan.recipe.file_type) metadata.set("general.file_type", GgufValue::of_u32(*plan.recipe.file_type));
  } else {
    metadata = to_gguf_metadata(plan.config, {.name = {}, .file_type = plan.recipe.file_type});
    if (source.has_tokenizer()) {
      const GgufMetadata tokenizer = source.tokenizer().to_gguf(plan.config.vocab_size);
      for (const auto& item : tokenizer.items()) metadata.set(item.key, item.value);
    } else {
      metadata.set("tokenizer.ggml.model", GgufValue::of_string("none"));
    }
  }
  put_activations(activations, metadata);
  metadata.set("general.quantization_version", GgufValue::of_u32(2));
  metadata.set(kManifestKey, GgufValue::of_string(manifest));
  return metadata;
}

std::vector<SideFile> make_side_files(const SourceModel& source, const QuantizePlan& plan, const StoredActivations& activations,
                                      const std::string& manifest) {
  std::vector<SideFile> files;
  if (plan.source_spelling == Spelling::huggingface) {
    files.push_back({"config.json", with_activations(activations, kept_config(source, plan))});
    std::vector<std::string> names = Tokenizer::file_names();
    names.insert(names.end(), kKeptFiles.begin(), kKeptFiles.end());
    for (const std::string& name : names)
      if (auto text = source.read_side_file(name)) files.push_back({name, std::move(*text)});
  } else {
    files.push_back({"config.json", with_activations(activations, translated_config(source, plan))});
    if (source.has_tokenizer()) {
      Tokenizer::HfFiles tokenizer = source.tokenizer().to_huggingface();
      files.push_back({"tokenizer.json", std::move(tokenizer.tokenizer_json)});
      files.push_back({"tokenizer_config.json", std::move(tokenizer.tokenizer_config_json)});
    }
  }
  files.push_back({kManifestFile, manifest + "\n"});
  return files;
}

}  // namespace nibble
