// SPDX-License-Identifier: Apache-2.0
#include "calibrate/imatrix_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/byte_reader.h"
#include "base/file_signature.h"
#include "base/mapped_file.h"
#include "base/output_file.h"
#include "calibrate/layer_walk.h"
#include "io/checkpoint.h"
#include "io/checkpoint_writer.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// What a file says of one weight: per column the mean of squares, and over how many vectors.
struct Entry {
  std::vector<float> mean_square;
  std::uint64_t count = 0;
};
using Entries = std::map<std::string, Entry, std::less<>>;

constexpr std::int32_t kMostEntries = 1 << 20, kLongestName = 4096;

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& name, const std::string& what) {
  throw Error(ErrorKind::corrupt, fmt::format("{}: entry '{}' {}", path.string(), name, what));
}

void require_sound(const std::filesystem::path& path, const std::string& name, const Entry& entry) {
  for (const float value : entry.mean_square)
    if (!std::isfinite(value) || value < 0) refuse(path, name, "holds a sum of squares that is negative or not finite");
}

Entries read_gguf(const std::filesystem::path& path, Statistics& statistics) {
  constexpr std::string_view kSums = ".in_sum2";
  const Checkpoint file = Checkpoint::open(path);
  if (file.gguf().string("general.type").value_or("") != "imatrix")
    throw Error(ErrorKind::unsupported,
                path.string() + ": a GGUF file, but not an importance matrix: its general.type is not 'imatrix'");
  if (const auto* const texts = file.gguf().strings("imatrix.datasets")) statistics.texts = *texts;
  statistics.samples = file.gguf().unsigned_integer("imatrix.chunk_count").value_or(0);
  statistics.length = file.gguf().unsigned_integer("imatrix.chunk_size").value_or(0);
  Entries entries;
  for (const StoredTensor& sums : file.tensors()) {
    if (!sums.name.ends_with(kSums)) continue;
    const std::string name = sums.name.substr(0, sums.name.size() - kSums.size());
    const StoredTensor& counts = file.tensor(name + ".counts");
    if (!sums.view.format || !counts.view.format || sums.type_name != "F32" || counts.type_name != "F32")
      refuse(path, name, "is not F32");
    if (sums.view.rows != 1 && name.find("_exps") != std::string::npos)
      continue;  // a row for each expert, whose rounding asks for none
    if (sums.view.rows != 1 || counts.view.rows * counts.view.cols != 1)
      refuse(path, name, "has more than one matrix, which only experts have");
    Entry entry{std::vector<float>(sums.view.cols), 0};
    sums.view.decode_row(0, entry.mean_square);
    float count = 0;
    counts.view.decode_row(0, {&count, 1});
    if (!(count >= 0 && count < 1e18F)) refuse(path, name, "has a count that is negative or not finite");
    entry.count = static_cast<std::uint64_t>(count);
    // Weights that nothing was seen of are all equally important.
    for (float& value : entry.mean_square) value = count > 0 ? value / count : 1.0F;
    require_sound(path, name, entry);
    entries.emplace(name, std::move(entry));
  }
  return entries;
}

Entries read_dat(const std::filesystem::path& path, Statistics& statistics) {
  const MappedFile file(path);
  ByteReader reader(file.bytes(), path.string());
  const auto length = [&](std::string_view field, std::int32_t limit) {
    const auto value = reader.read<std::int32_t>(field);
    if (value < 0 || value > limit)
      throw Error(ErrorKind::corrupt, fmt::format("{}: {} is not between 0 and {} at offset {}: {}", path.string(),
                                                  field, limit, reader.offset() - 4, value));
    return static_cast<std::size_t>(value);
  };
  const auto text = [&](std::string_view field, std::int32_t limit) {
    const auto bytes = reader.take(length(field, limit), field);
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  Entries entries;
  const std::size_t num_entries = length("the number of entries", kMostEntries);
  for (std::size_t i = 0; i < num_entries; ++i) {
    const std::string name = text("an entry's name", kLongestName);
    const auto calls = static_cast<float>(length("an entry's number of calls", INT32_MAX));
    const auto bytes = reader.take(length("an entry's number of values", 1 << 26) * sizeof(float), "an entry's values");
    Entry entry{std::vector<float>(bytes.size() / sizeof(float)), static_cast<std::uint64_t>(calls)};
    std::memcpy(entry.mean_square.data(), bytes.data(), bytes.size());
    for (float& value : entry.mean_square) value = calls > 0 ? value / calls : value;
    require_sound(path, name, entry);
    entries.emplace(name, std::move(entry));
  }
  if (reader.remaining() > 0) {
    statistics.samples = length("the number of chunks", INT32_MAX);
    // However long: a whole path, or a list of them.
    if (reader.remaining() > 0) statistics.texts = {text("the dataset's name", INT32_MAX)};
  }
  return entries;
}

struct SiteParts {
  std::string site;
  std::int64_t layer;
  std::vector<const ModelTensor*> tensors;
};

std::vector<SiteParts> site_parts(const ModelTensors& tensors) {
  std::vector<SiteParts> result;
  for (std::int64_t layer = 0; layer < tensors.network().num_layers(); ++layer)
    for (const Site& site : tensors.network().layer(layer).sites) {
      SiteParts parts{site.name, layer, {}};
      for (const std::string& part : site.parts) parts.tensors.push_back(tensors.part(part, layer));
      result.push_back(std::move(parts));
    }
  const ModelTensor* const head = tensors.part("head", -1);
  result.push_back({std::string(kHeadSite), -1, {head != nullptr ? head : tensors.part("embedding", -1)}});
  return result;
}

}  // namespace

std::vector<const ModelTensor*> tensors_of_site(const ModelTensors& tensors, const SiteStatistics& site) {
  for (SiteParts& parts : site_parts(tensors))
    if (parts.layer == site.layer && parts.site == site.site) return std::move(parts.tensors);
  return {};
}

namespace {

std::string first_bytes(const std::filesystem::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), std::min<std::size_t>(file.bytes().size(), 16)};
}

}  // namespace

StatisticsForm statistics_form(const std::filesystem::path& path) {
  const std::string start = first_bytes(path);
  if (start.starts_with("GGUF")) return StatisticsForm::gguf_imatrix;
  // In the older form these bytes are two counts, the second of them not 0, and the first letter of a name.
  if (has_safetensors_start(start)) return StatisticsForm::own;
  std::int32_t entries = 0, letters = 0;
  if (start.size() >= 8) {
    std::memcpy(&entries, start.data(), 4);
    std::memcpy(&letters, start.data() + 4, 4);
  }
  if (entries > 0 && entries <= kMostEntries && letters > 0 && letters <= kLongestName)
    return StatisticsForm::dat_imatrix;
  throw Error(ErrorKind::unsupported,
              path.string() + ": neither statistics nor an importance matrix; 'nibble calibrate' makes both");
}

bool is_imatrix_name(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  return extension == ".gguf" || extension == ".dat" || extension == ".imatrix";
}

Statistics read_imatrix(const std::filesystem::path& path, const ModelTensors& tensors) {
  Statistics statistics;
  Entries entries = first_bytes(path).starts_with("GGUF") ? read_gguf(path, statistics) : read_dat(path, statistics);
  for (const SiteParts& parts : site_parts(tensors)) {
    for (const ModelTensor* const tensor : parts.tensors) {
      const auto found = entries.find(tensor->gguf_name);
      if (found == entries.end()) continue;
      if (found->second.mean_square.size() != tensor->shape.back())
        throw Error(ErrorKind::unusable_input,
                    fmt::format("{}: made for another model: '{}' has {} columns, not {}", path.string(),
                                tensor->gguf_name, tensor->shape.back(), found->second.mean_square.size()));
      SiteStatistics site;
      site.layer = parts.layer;
      site.site = parts.site;
      site.count = found->second.count;
      site.mean_square = found->second.mean_square;
      statistics.sites.push_back(std::move(site));
      break;
    }
  }
  if (statistics.sites.empty())
    throw Error(ErrorKind::unusable_input,
                path.string() + ": made for another model: it names none of this model's weights");
  return statistics;
}

namespace {

void write_gguf(const Statistics& statistics,
                const std::vector<std::pair<const ModelTensor*, const SiteStatistics*>>& entries,
                const std::filesystem::path& path) {
  GgufMetadata metadata;
  metadata.set("general.type", GgufValue::of_string("imatrix"));
  metadata.set("imatrix.datasets", GgufValue::of_strings(statistics.texts));
  metadata.set("imatrix.chunk_count", GgufValue::of_u32(static_cast<std::uint32_t>(statistics.samples)));
  metadata.set("imatrix.chunk_size", GgufValue::of_u32(static_cast<std::uint32_t>(statistics.length)));
  const FormatPtr f32 = find_raw_format(DType::f32);
  std::vector<PlannedTensor> plan;
  for (const auto& [tensor, site] : entries) {
    plan.push_back({tensor->gguf_name + ".in_sum2", {1, site->width()}, f32});
    plan.push_back({tensor->gguf_name + ".counts", {1, 1}, f32});
  }
  const auto writer = make_gguf_writer(path, metadata, plan);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const SiteStatistics& site = *entries[i].second;
    const float count = static_cast<float>(site.count);
    QuantizedTensor sums(f32, 1, site.width()), counts(f32, 1, 1);
    for (std::size_t j = 0; j < site.width(); ++j) {
      const float sum = site.mean_square[j] * count;
      std::memcpy(sums.planes[0].data() + j * sizeof sum, &sum, sizeof sum);
    }
    std::memcpy(counts.planes[0].data(), &count, sizeof count);
    writer->write_rows(2 * i, sums.view());
    writer->write_rows(2 * i + 1, counts.view());
  }
  writer->finish();
}

void write_dat(const Statistics& statistics,
               const std::vector<std::pair<const ModelTensor*, const SiteStatistics*>>& entries,
               const std::filesystem::path& path) {
  OutputFile file(path);
  const auto number = [&](std::uint64_t value) {
    const auto small = static_cast<std::int32_t>(std::min<std::uint64_t>(value, INT32_MAX));
    file.write(std::as_bytes(std::span(&small, 1)));
  };
  const auto text = [&](const std::string& value) {
    number(value.size());
    file.write(std::string_view(value));
  };
  // Sums over so many calls; statistics that do not know their number are means of one.
  const std::uint64_t calls = std::max<std::uint64_t>(1, statistics.samples);
  number(entries.size());
  for (const auto& [tensor, site] : entries) {
    text(tensor->gguf_name);
    number(calls);
    number(site->width());
    std::vector<float> values = site->mean_square;
    for (float& value : values) value *= static_cast<float>(calls);
    file.write(std::as_bytes(std::span(values)));
  }
  number(statistics.samples);
  text(statistics.texts.empty() ? std::string() : statistics.texts.front());
  file.commit();
}

}  // namespace

void write_imatrix(const Statistics& statistics, const ModelTensors& tensors, const std::filesystem::path& path) {
  std::vector<std::pair<const ModelTensor*, const SiteStatistics*>> entries;
  for (const SiteParts& parts : site_parts(tensors))
    if (const SiteStatistics* const site = statistics.find(parts.layer, parts.site))
      for (const ModelTensor* const tensor : parts.tensors) entries.emplace_back(tensor, site);
  if (lower_extension(path) == ".dat")
    write_dat(statistics, entries, path);
  else
    write_gguf(statistics, entries, path);
}

}  // namespace nibble
