// SPDX-License-Identifier: Apache-2.0
#include "pipeline/export/directory_container.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/output_file.h"
#include "io/json_text.h"
#include "io/message_text.h"
#include "io/onnx/onnx_package.h"
#include "model/known_family.h"
#include "nibble/error.h"
#include "pipeline/export/manifest.h"
#include "pipeline/export/model_card.h"
#include "pipeline/export/onnx/genai_config.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kKeptFiles = {"generation_config.json", "preprocessor_config.json",  "processor_config.json",
                                   "modules.json",           "sentence_bert_config.json", "LICENSE"};

// Whether a file of this name may be of an output: weights, and what lies beside them.
bool may_be_written(const std::string& name) {
  if (name == "config.json" || name == kManifestFile || name == kModelCardFile ||
      name == "model.safetensors.index.json")
    return true;
  if (name.starts_with("model") && name.ends_with(".safetensors")) return true;
  if (name == kOnnxFile || name == kOnnxDataFile || name == kGenaiConfigFile) return true;
  const std::vector<std::string> tokenizer = Tokenizer::file_names();
  return std::ranges::find(tokenizer, name) != tokenizer.end() ||
         std::ranges::find(kKeptFiles, name) != kKeptFiles.end();
}

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

// config.json names the tensors that are written, in the words of their class.
Json own_config(const SourceModel& source, const QuantizePlan& plan) {
  if (source.config_json().empty()) return Json::object();
  const std::string path = (source.path() / "config.json").string();
  const Json config = parse_json(source.config_json(), path);
  if (!has_own_keys(config)) return text_part_config(config);
  Json usual = parse_json(to_huggingface_config(plan.config, {}), path);
  for (const char* const key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (const auto id = config.find(key); id != config.end()) usual[key] = *id;
  return usual;
}

std::string kept_config(const SourceModel& source, const QuantizePlan& plan) {
  Json config = own_config(source, plan);
  // A foreign quantization_config would describe tensors that are no longer there.
  for (const char* const key : {"quantization_config", "compression_config", "quantization"}) config.erase(key);
  const char* const key = config.contains("dtype") && !config.contains("torch_dtype") ? "dtype" : "torch_dtype";
  config[key] = torch_dtype(plan);
  return dump_json(config, 2) + "\n";
}

}  // namespace

std::string DirectoryContainer::in_the_way(const std::filesystem::path& output) const {
  std::error_code ignored;
  if (!std::filesystem::exists(output, ignored)) return {};
  if (!std::filesystem::is_directory(output, ignored)) return "is a file";
  if (!is_replaceable_directory(output)) return "was not written by nibble";
  for (const auto& entry : std::filesystem::directory_iterator(output))
    if (const std::string name = entry.path().filename().string(); !may_be_written(name))
      return fmt::format("holds more than a model, {}", quote_name(name));
  return {};
}

// Files of a tokenizer are copied as they are, those of kinds that are not read here too.
void DirectoryContainer::require_sound(const SourceModel& source) const {
  try {
    if (source.has_tokenizer()) source.tokenizer();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::corrupt) throw;
  }
}

std::span<const char* const> kept_side_files() { return kKeptFiles; }

std::string directory_config(const ContainerContents& contents) {
  return contents.plan.source_spelling == Spelling::huggingface ? kept_config(contents.source, contents.plan)
                                                                : translated_config(contents.source, contents.plan);
}

std::vector<SideFile> DirectoryContainer::files(const ContainerContents& contents, std::string config_json) const {
  const SourceModel& source = contents.source;
  std::vector<SideFile> files;
  files.push_back({"config.json", std::move(config_json)});
  if (contents.plan.source_spelling == Spelling::huggingface) {
    std::vector<std::string> names = Tokenizer::file_names();
    names.insert(names.end(), kKeptFiles.begin(), kKeptFiles.end());
    for (const std::string& name : names)
      if (auto text = source.read_side_file(name)) files.push_back({name, std::move(*text)});
  } else if (source.has_tokenizer()) {
    Tokenizer::HfFiles tokenizer = source.tokenizer().to_huggingface();
    files.push_back({"tokenizer.json", std::move(tokenizer.tokenizer_json)});
    files.push_back({"tokenizer_config.json", std::move(tokenizer.tokenizer_config_json)});
  }
  files.push_back({kManifestFile, contents.manifest + "\n"});
  files.push_back({kModelCardFile, make_model_card(contents, name(), use(contents))});
  return files;
}

std::uint64_t shard_bytes_of(const QuantizePlan& plan) {
  return plan.shard_bytes != 0 ? plan.shard_bytes : kDirectoryShardBytes;
}

}  // namespace nibble
