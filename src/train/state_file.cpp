// SPDX-License-Identifier: Apache-2.0
#include "train/state_file.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "io/safetensors/safetensors_header.h"
#include "io/safetensors/safetensors_layout.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Json = nlohmann::json;
constexpr const char* kFormatName = "nibble.training";
constexpr const char* kAnew = "; remove it to begin anew";

// Of all tensors' bytes, one after the other as they lie.
class Hash {
 public:
  Hash() : state_(XXH3_createState(), &XXH3_freeState) { XXH3_64bits_reset(state_.get()); }
  void add(std::span<const std::byte> bytes) { XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()); }
  std::string text() const { return fmt::format("{:016x}", XXH3_64bits_digest(state_.get())); }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path)
      : file_(path), header_(parse_safetensors(file_.bytes(), path.string())) {
    if (text("format") != kFormatName)
      throw Error(ErrorKind::unsupported, name() + ": not the state of a training run");
    if (text("version") != "1")
      throw Error(ErrorKind::unsupported,
                  name() + ": the state of a run by another version; begin anew: version " + text("version"));
  }

  // Under a key of the metadata; every value judged by is_sound.
  template <class Sound>
  Json object(const char* key, Sound is_sound) const {
    Json json = Json::parse(text(key), nullptr, false);
    if (!json.is_object() || !std::ranges::all_of(json, is_sound))
      throw Error(ErrorKind::corrupt, fmt::format("{}: '{}' of its metadata is not what a run writes", name(), key));
    return json;
  }

  template <class Number>
  Number number(const Json& object, const std::string& key) const {
    const auto found = object.find(key);
    if (found == object.end()) throw Error(ErrorKind::corrupt, fmt::format("{}: the state lacks '{}'", name(), key));
    return found->template get<Number>();
  }

  std::span<const std::byte> values(const StateTensor& tensor) const {
    const auto found = std::ranges::find(header_.entries, tensor.name, &SafetensorsEntry::name);
    if (found == header_.entries.end())
      throw Error(ErrorKind::corrupt, fmt::format("{}: there is no tensor '{}'", name(), tensor.name));
    if (found->type_name != "F32" || found->shape != tensor.shape)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{}: tensor '{}' is of another model: {} {}, here F32 {}", name(), tensor.name,
                              found->type_name, shape_text(found->shape), shape_text(tensor.shape)));
    const auto bytes =
        file_.bytes().subspan(static_cast<std::size_t>(found->offset), static_cast<std::size_t>(found->bytes));
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      float value;
      std::memcpy(&value, bytes.data() + i * sizeof(float), sizeof(float));
      if (!std::isfinite(value))
        throw Error(ErrorKind::corrupt, fmt::format("{}: tensor '{}' holds a number that is not finite, element {}",
                                                    name(), tensor.name, i));
    }
    return bytes;
  }

  std::uint64_t count(std::string_view tensor) const {
    const auto found = std::ranges::find(header_.entries, tensor, &SafetensorsEntry::name);
    return found == header_.entries.end() ? 0 : found->bytes / sizeof(float);
  }

  void require_undamaged() const {
    Hash hash;
    std::vector<SafetensorsEntry> entries = header_.entries;
    std::ranges::sort(entries, {}, &SafetensorsEntry::offset);
    for (const SafetensorsEntry& entry : entries)
      hash.add(file_.bytes().subspan(static_cast<std::size_t>(entry.offset), static_cast<std::size_t>(entry.bytes)));
    if (hash.text() != text("xxh3"))
      throw Error(ErrorKind::corrupt, name() + ": its numbers are not those that were written" + kAnew);
  }

  std::string name() const { return file_.path().string(); }

 private:
  std::string text(const char* key) const {
    const auto found = header_.metadata.find(key);
    return found == header_.metadata.end() ? std::string() : found->second;
  }

  MappedFile file_;
  SafetensorsHeader header_;
};

void require_same_settings(const Reader& reader, const Json& there, const std::map<std::string, std::string>& here) {
  std::string differences;
  const auto differ = [&](const std::string& key, const std::string& one, const std::string& other) {
    differences += fmt::format("{}{}: {} there, {} here", differences.empty() ? "" : "; ", key, one, other);
  };
  for (const auto& [key, value] : here) {
    const auto found = there.find(key);
    const std::string other = found == there.end() ? "nothing" : found->get<std::string>();
    if (other != value) differ(key, other, value);
  }
  for (const auto& [key, value] : there.items())
    if (!here.contains(key)) differ(key, value.get<std::string>(), "nothing");
  if (!differences.empty())
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{}: this run was begun with other settings; give the same, or begin anew, elsewhere or "
                            "without this file. {}",
                            reader.name(), differences));
}

}  // namespace

void write_training_state(const TrainingState& state, const std::filesystem::path& path) {
  std::vector<LayoutEntry> entries;
  for (const StateTensor& tensor : state.tensors)
    entries.push_back({tensor.name, DType::f32, tensor.shape, tensor.values.size_bytes()});
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&, offsets = lay_out_safetensors(entries, path.string()).offsets](std::size_t i) {
    return offsets[i];
  });
  Hash hash;
  for (const std::size_t i : order) hash.add(std::as_bytes(state.tensors[i].values));
  const std::map<std::string, std::string> metadata = {{"format", kFormatName},
                                                       {"version", "1"},
                                                       {"xxh3", hash.text()},
                                                       {"settings", Json(state.settings).dump()},
                                                       {"counts", Json(state.counts).dump()},
                                                       {"figures", Json(state.figures).dump()}};
  const SafetensorsLayout layout = lay_out_safetensors(entries, path.string(), metadata);
  OutputFile file(path);
  file.write(layout.header);
  for (std::size_t i = 0; i < state.tensors.size(); ++i)
    file.write_at(layout.offsets[i], std::as_bytes(state.tensors[i].values));
  file.commit(true);
}

void read_training_state(const std::filesystem::path& path, TrainingState& state) {
  const Reader reader(path);
  require_same_settings(reader, reader.object("settings", [](const Json& value) { return value.is_string(); }),
                        state.settings);
  const Json counts = reader.object("counts", [](const Json& value) { return value.is_number_unsigned(); });
  const Json figures = reader.object("figures", [](const Json& value) { return value.is_number(); });
  std::map<std::string, std::uint64_t> found_counts;
  std::map<std::string, double> found_figures;
  for (const auto& [key, value] : state.counts) found_counts[key] = reader.number<std::uint64_t>(counts, key);
  for (const auto& [key, value] : state.figures) found_figures[key] = reader.number<double>(figures, key);
  std::vector<std::span<const std::byte>> bytes;
  for (const StateTensor& tensor : state.tensors) bytes.push_back(reader.values(tensor));
  reader.require_undamaged();
  // All is judged: what is wrong leaves nothing half-read.
  state.counts = std::move(found_counts);
  state.figures = std::move(found_figures);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    std::memcpy(state.tensors[i].values.data(), bytes[i].data(), bytes[i].size());
}

std::uint64_t count_state_numbers(const std::filesystem::path& path, std::string_view tensor) {
  return Reader(path).count(tensor);
}

}  // namespace nibble
