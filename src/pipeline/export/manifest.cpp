// SPDX-License-Identifier: Apache-2.0
#include "pipeline/export/manifest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "base/utf8.h"
#include "io/checkpoint_parts.h"
#include "io/json_text.h"
#include "io/onnx/onnx_package.h"
#include "nibble/model.h"
#include "pipeline/quantize/recipe_json.h"
#include "pipeline/quantize/statistics_hash.h"
#include "quantize/fit/fit_rule.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

std::string hash_text(std::uint64_t hash) { return fmt::format("{:016x}", hash); }
std::string hash_text(std::span<const std::byte> bytes) { return hash_text(XXH3_64bits(bytes.data(), bytes.size())); }

// What the statistics came from, by content: nothing when no text and no statistics were given.
Json calibration_record(const Calibration& calibration, const ModelConfig& config) {
  Json record;
  if (calibration.statistics != nullptr) {
    record["statistics"] = hash_text(statistics_hash(*calibration.statistics));
    return record;
  }
  if (calibration.texts.empty()) return record;
  for (const CalibrationText& text : calibration.texts)
    record["texts"].push_back({{"name", replace_invalid_utf8(text.name)},
                               {"xxh3", hash_text(XXH3_64bits(text.text.data(), text.text.size()))}});
  record["samples"] = calibration.sampling.samples;
  record["length"] = calibration.sampling.length;
  record["seed"] = calibration.sampling.seed;
  if (calibration.sampling.parse_special) record["special_tokens"] = true;
  if (calibration.hessian.is_guided()) record["hessian"] = hessian_name(calibration.hessian);
  record["arithmetic"] = walk_arithmetic_name(resolve_walk_arithmetic(calibration.walk, draw_network(config)));
  return record;
}

// What was asked of methods that learn; nothing of their own choices, which follow from the version.
std::map<std::string, double> learning_record(const QuantizeModelOptions& options) {
  std::map<std::string, double> record;
  if (options.learning.steps) record["steps"] = static_cast<double>(*options.learning.steps);
  if (options.learning.batch) record["batch"] = static_cast<double>(*options.learning.batch);
  if (options.learning.rate) record["rate"] = *options.learning.rate;
  return record;
}

}  // namespace

std::string make_manifest(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options,
                          const std::string& source_hash) {
  Json manifest;
  manifest["nibble"] = version();
  manifest["source"] = {{"tensors", plan.tensors.size()}, {"xxh3", source_hash}};
  manifest["recipe"] = Json::parse(recipe_to_json(plan.recipe));
  manifest["method"] = options.method;
  if (options.rounded_numbers > 0) {
    manifest["method"] = "nearest";
    manifest["rounded_numbers"] = options.rounded_numbers;
  }
  if (options.fit) manifest["fit"] = fit_spelling(*options.fit);
  if (options.activations) {
    manifest["activations"]["format"] = activation_format_name(options.activations->format);
    if (options.activations->format.is_static() && options.activations->grids == nullptr)
      manifest["activations"]["fit"] = fit_spelling(options.activations->fit);
  }
  if (!options.transform.empty()) manifest["transform"] = options.transform;
  if (!options.round.empty()) manifest["round"] = options.round;
  if (options.smoothquant_alpha) manifest["alpha"] = *options.smoothquant_alpha;
  for (const auto& [name, value] : learning_record(options)) manifest["learning"][name] = value;
  if (Json calibration = calibration_record(options.calibration, plan.config); !calibration.empty())
    manifest["calibration"] = std::move(calibration);
  if (options.method == kExactMethod)
    if (const auto own = manifest_of(source))
      if (Json json = Json::parse(*own, nullptr, false); json.is_object()) {
        const auto original = json.find("original");  // of one that was made so itself, what it was made of
        manifest["original"] = original != json.end() ? *original : json;
        manifest["original"].erase("files");
        if (const auto distilled = json.find("distilled"); distilled != json.end()) manifest["distilled"] = *distilled;
      }
  if (!options.distilled.empty()) manifest["distilled"] = Json::parse(options.distilled);
  return manifest.dump();
}

bool is_weight_file(const std::string& name) { return name.ends_with(".safetensors") || name.starts_with(kOnnxFile); }

void add_file_hashes(const std::filesystem::path& output) {
  const std::filesystem::path path = output / kManifestFile;
  if (!std::filesystem::is_directory(output) || !std::filesystem::exists(path)) return;
  std::set<std::filesystem::path> weights;
  for (const auto& entry : std::filesystem::directory_iterator(output))
    if (is_weight_file(entry.path().filename().string())) weights.insert(entry.path());
  Json manifest = parse_json(read_side_file(output, kManifestFile).value_or("{}"), path.string());
  Json& files = manifest["files"] = Json::array();
  for (const std::filesystem::path& one : weights) {
    const MappedFile file(one);
    files.push_back(
        {{"name", one.filename().string()}, {"bytes", file.bytes().size()}, {"xxh3", hash_text(file.bytes())}});
  }
  OutputFile out(path);
  out.write(manifest.dump() + "\n");
  out.commit();
}

std::vector<ChangedFile> find_changed_files(const Checkpoint& checkpoint) {
  std::vector<ChangedFile> changed;
  const auto text = manifest_of(checkpoint);
  const Json manifest = text ? Json::parse(*text, nullptr, false) : Json();
  const auto files = manifest.is_object() ? manifest.find("files") : manifest.end();
  if (files == manifest.end() || !files->is_array()) return changed;
  for (const Json& record : *files) {
    if (!record.is_object() || !record.contains("name") || !record["name"].is_string()) continue;
    const std::string name = record["name"];
    if (!is_weight_file(name) || !is_plain_file_name(name)) continue;
    const std::filesystem::path path = checkpoint.path() / name;
    if (!std::filesystem::is_regular_file(path)) {
      changed.push_back({name, "was written with this model and is not here any more"});
      continue;
    }
    const MappedFile file(path);
    const Json size = record.value("bytes", Json()), hash = record.value("xxh3", Json());
    if (size.is_number_unsigned() && size != file.bytes().size())
      changed.push_back({name, fmt::format("has {} bytes; {} were written", file.bytes().size(), size.dump())});
    else if (hash.is_string() && hash != hash_text(file.bytes()))
      changed.push_back({name, fmt::format("is not what was written: its hash (xxhsum -H3) is {}, not {}",
                                           hash_text(file.bytes()), hash.get<std::string>())});
  }
  return changed;
}

std::optional<std::string> manifest_of(const Checkpoint& checkpoint) {
  if (auto manifest = checkpoint.gguf().string(kManifestKey)) return manifest;
  if (checkpoint.kind() != ContainerKind::huggingface) return std::nullopt;
  auto manifest = checkpoint.read_side_file(kManifestFile);
  if (!manifest || manifest->starts_with("{\"synth\"")) return std::nullopt;
  while (manifest->ends_with('\n')) manifest->pop_back();
  return manifest;
}

}  // namespace nibble
