// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/model_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/shard_name.h"
#include "io/checkpoint_parts.h"
#include "io/json_text.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxIndex = 256u << 20, kMaxSmall = 1u << 20;
constexpr std::string_view kSingle = "model.safetensors", kIndex = "model.safetensors.index.json",
                           kAdapterConfig = "adapter_config.json", kWeightsEnding = ".safetensors";

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (auto entry = fs::directory_iterator(directory, ignored); entry != fs::directory_iterator();
       entry.increment(ignored))
    names.push_back(entry->path().filename().string());
  std::ranges::sort(names);
  return names;
}

// Of a shard of weights.
std::optional<ShardName> parse_weights_name(std::string_view name) {
  auto shard = parse_shard_name(name);
  return shard && shard->ending == kWeightsEnding ? std::move(shard) : std::nullopt;
}

// Shards that belong together by their names.
struct ShardSet {
  std::string prefix;
  std::uint64_t count = 0;
  std::vector<std::string> names;  // sorted

  bool is_complete() const { return names.size() == count; }
  std::string first_missing() const {
    for (std::uint64_t number = 1; number <= count; ++number) {
      std::string name = shard_name({prefix, number, count, std::string(kWeightsEnding)});
      if (!std::ranges::binary_search(names, name)) return name;
    }
    return "";
  }
};

std::vector<ShardSet> shard_sets(const std::vector<std::string>& names) {
  std::map<std::pair<std::string, std::uint64_t>, ShardSet> sets;
  for (const std::string& name : names)
    if (const auto shard = parse_weights_name(name)) {
      ShardSet& set = sets[{shard->prefix, shard->count}];
      set.prefix = shard->prefix;
      set.count = shard->count;
      set.names.push_back(name);
    }
  std::vector<ShardSet> list;
  for (auto& [key, set] : sets) list.push_back(std::move(set));
  return list;
}

bool has(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::binary_search(names, name);
}

template <class... Endings>
std::vector<std::string> with_endings(const std::vector<std::string>& names, Endings... endings) {
  std::vector<std::string> found;
  std::ranges::copy_if(names, std::back_inserter(found),
                       [&](const std::string& name) { return (name.ends_with(endings) || ...); });
  return found;
}

std::string adapter_hint(const fs::path& directory) {
  std::string base;
  try {
    const auto config = parse_json(read_small_file(directory / kAdapterConfig, kMaxSmall).value_or("{}"), "");
    if (const auto found = config.find("base_model_name_or_path"); found != config.end() && found->is_string())
      base = fmt::format(" of {}", quote_name(found->get_ref<const std::string&>()));
  } catch (const Error&) {
    // What an unreadable file says of the base is not known.
  }
  return fmt::format(
      "it holds an adapter{} (LoRA or the like), which is no model without its base; merge the two, for example with "
      "PEFT's merge_and_unload(), and give the result",
      base);
}

std::string directory_hint(const fs::path& directory, const std::vector<std::string>& names) {
  std::vector<std::string> models;
  std::error_code ignored;
  for (const std::string& name : names) {
    const fs::path inner = directory / name;
    if (!fs::is_directory(inner, ignored)) continue;
    if (is_there(inner / "config.json") || is_there(inner / kSingle) || is_there(inner / kIndex) ||
        is_there(inner / "snapshots"))
      models.push_back(name);
  }
  if (models.empty()) return "";
  return fmt::format("give the path of a model in it: {}", quote_name(models.front())) +
         (models.size() > 1 ? fmt::format(" or {} more", models.size() - 1) : "");
}

// What lies in a directory that has no weights to read; the most telling first.
std::string hint(const fs::path& directory, const std::vector<std::string>& names) {
  std::error_code ignored;
  if (names.empty()) return "it is empty";
  for (const std::string& name : with_endings(names, ".safetensors", ".json"))
    if (fs::is_symlink(directory / name, ignored) && !is_there(directory / name))
      return fmt::format("{} is a link to a file that is not there; download it again", quote_name(name));
  if (has(names, kAdapterConfig) || has(names, "adapter_model.safetensors") || has(names, "adapter_model.bin"))
    return adapter_hint(directory);
  if (const auto parts = with_endings(names, ".incomplete", ".part", ".crdownload", ".aria2", ".tmp", ".download");
      !parts.empty())
    return fmt::format("a download is not complete: {}", quote_name(parts.front()));
  if (!with_endings(names, ".gguf").empty()) return "give the path of the GGUF file in it";
  if (const auto weights = with_endings(names, ".safetensors"); !weights.empty())
    return weights.size() == 1
               ? fmt::format("its weights have another name; rename {} to {}", quote_name(weights.front()), kSingle)
               : fmt::format("its weights have other names, {} and {} more, and no index says how they belong together",
                             quote_name(weights.front()), weights.size() - 1);
  if (!with_endings(names, ".bin", ".pt", ".pth", ".ckpt").empty())
    return "save its PyTorch weights as safetensors first";
  if (const auto others =
          with_endings(names, ".h5", ".msgpack", ".onnx", ".npz", ".tflite", ".mlmodel", ".keras", ".pb");
      !others.empty())
    return fmt::format("{} is of another framework; save the model as safetensors first", quote_name(others.front()));
  if (const auto archives = with_endings(names, ".zip", ".gz", ".tgz", ".tar", ".xz", ".zst", ".7z"); !archives.empty())
    return fmt::format("unpack {} first", quote_name(archives.front()));
  return directory_hint(directory, names);
}

[[noreturn]] void refuse_no_weights(const fs::path& directory, const std::vector<std::string>& names) {
  const std::string advice = hint(directory, names);
  throw Error(ErrorKind::not_found, fmt::format("{}: directory holds neither {} nor {}{}{}", directory.string(),
                                                kSingle, kIndex, advice.empty() ? "" : "; ", advice));
}

[[noreturn]] void refuse_two_models(const fs::path& directory, std::string_view other) {
  throw Error(
      ErrorKind::unusable_input,
      fmt::format("{}: holds two models, {} and {}, one of which is left from before; remove the one that is not meant",
                  directory.string(), kSingle, other));
}

[[noreturn]] void refuse_missing_shard(const fs::path& index, const std::string& missing,
                                       const std::vector<ShardSet>& sets) {
  std::string advice;
  for (const ShardSet& set : sets)
    if (const auto shard = parse_weights_name(missing);
        !shard || shard->prefix != set.prefix || shard->count != set.count)
      advice = fmt::format(
          ", but shards of another set lie beside it, as {}; the index is an older one: {}",
          quote_name(set.names.front()),
          set.is_complete() ? "remove it, or fetch the index of these shards" : "fetch the index of these shards");
  throw Error(ErrorKind::not_found,
              fmt::format("{}: shard {} is missing{}", index.string(), quote_name(missing), advice));
}

// What the hub calls the newest is not here, and another must not be taken for it.
[[noreturn]] void refuse_missing_snapshot(const fs::path& main, std::string_view hash,
                                          const std::vector<std::string>& names) {
  const std::string what = hash.empty() ? "is empty and names no snapshot"
                                        : fmt::format("names the snapshot {}, which is not there", quote_name(hash));
  std::string other;
  if (!names.empty())
    other = ", or give the path of a snapshot that is here: " +
            (main.parent_path().parent_path() / "snapshots" / names.front()).string();
  throw Error(ErrorKind::not_found, fmt::format("{}: {}; download the model again{}", main.string(), what, other));
}

std::vector<std::string> files_without_index(const fs::path& directory, const std::vector<std::string>& names) {
  const std::vector<ShardSet> sets = shard_sets(names);
  const auto complete = std::ranges::find_if(sets, &ShardSet::is_complete);
  if (has(names, kSingle) && is_there(directory / kSingle)) {
    if (complete != sets.end()) refuse_two_models(directory, fmt::format("the shards {} ...", complete->names.front()));
    return {std::string(kSingle)};
  }
  if (complete != sets.end()) {
    if (const auto more =
            std::find_if(std::next(complete), sets.end(), [](const ShardSet& set) { return set.is_complete(); });
        more != sets.end())
      throw Error(
          ErrorKind::unusable_input,
          fmt::format("{}: holds two sets of shards and no index: {} ... and {} ...; remove the one that is not meant",
                      directory.string(), complete->names.front(), more->names.front()));
    return complete->names;
  }
  if (!sets.empty())
    throw Error(ErrorKind::not_found, fmt::format("{}: {} of {} shards are here, and no {}; missing is {}",
                                                  directory.string(), sets.front().names.size(), sets.front().count,
                                                  kIndex, quote_name(sets.front().first_missing())));
  refuse_no_weights(directory, names);
}

}  // namespace

WeightFiles find_weight_files(const fs::path& directory) {
  const std::vector<std::string> names = names_in(directory);
  WeightFiles files;
  if (!has(names, kIndex)) {
    files.names = files_without_index(directory, names);
    return files;
  }
  files.index_path = directory / kIndex;
  files.index = parse_shard_index(read_small_file(files.index_path, kMaxIndex).value_or(""), files.index_path.string());
  std::set<std::string> listed;
  for (const auto& [name, file] : files.index->weight_map) listed.insert(file);
  files.names.assign(listed.begin(), listed.end());
  const auto missing =
      std::ranges::find_if_not(files.names, [&](const std::string& name) { return is_there(directory / name); });
  const bool has_single = is_there(directory / kSingle) && !listed.contains(std::string(kSingle));
  if (missing == files.names.end()) {
    if (has_single) refuse_two_models(directory, fmt::format("the shards of {}", kIndex));
    return files;
  }
  if (!has_single) refuse_missing_shard(files.index_path, *missing, shard_sets(names));
  if (std::ranges::any_of(files.names, [&](const std::string& name) { return is_there(directory / name); }))
    refuse_missing_shard(files.index_path, *missing, {});
  return {{std::string(kSingle)}, {}, std::nullopt};  // an index is left from before; nothing that it names is here
}

fs::path resolve_hub_snapshot(const fs::path& directory) {
  std::error_code ignored;
  const fs::path snapshots = directory / "snapshots", main = directory / "refs" / "main";
  if (is_there(directory / "config.json") || is_there(directory / kSingle) || !fs::is_directory(snapshots, ignored))
    return directory;
  const std::vector<std::string> names = names_in(snapshots);
  if (const auto revision = read_small_file(main, kMaxSmall)) {
    const std::string hash = revision->substr(0, revision->find_first_of(" \t\r\n"));
    if (is_plain_file_name(hash) && fs::is_directory(snapshots / hash, ignored)) return snapshots / hash;
    refuse_missing_snapshot(main, hash, names);
  }
  if (names.size() == 1) return snapshots / names.front();
  throw Error(
      names.empty() ? ErrorKind::not_found : ErrorKind::unusable_input,
      names.empty()
          ? fmt::format("{}: a hub cache without a snapshot; download the model again", directory.string())
          : fmt::format(
                "{}: a hub cache with {} snapshots and no refs/main that names one of them; give the path of one: {}",
                directory.string(), names.size(), (snapshots / names.front()).string()));
}

}  // namespace nibble
