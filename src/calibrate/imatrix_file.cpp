// SPDX-License-Identifier: Apache-2.0
#include "calibrate/imatrix_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
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

constexpr std::int32_t kMostEntries = 1 << 20, kLongestName = 4096;

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& name, const std::string& what) {
  throw Error(ErrorKind::corrupt, fmt::format("{}: entry '{}' {}", path.string(), name, what));
}

void require_sound(const std::filesystem::path& path, const std::string& name, const ImatrixEntry& entry) {
  for (const float value : entry.mean_square)
    if (!std::isfinite(value) || value < 0) refuse(path, name, "holds a sum of squares that is negative or not finite");
}

Imatrix read_gguf(const std::filesystem::path& path) {
  constexpr std::string_view kSums = ".in_sum2";
  const Checkpoint file = Checkpoint::open(path);
  if (file.gguf().string("general.type").value_or("") != "imatrix")
    throw Error(ErrorKind::unsupported,
                path.string() + ": a GGUF file, but not an importance matrix: its general.type is not 'imatrix'");
  Imatrix imatrix;
  if (const auto* const texts = file.gguf().strings("imatrix.datasets")) imatrix.texts = *texts;
  imatrix.samples = file.gguf().unsigned_integer("imatrix.chunk_count").value_or(0);
  imatrix.length = file.gguf().unsigned_integer("imatrix.chunk_size").value_or(0);
  for (const StoredTensor& sums : file.tensors()) {
    if (!sums.name.ends_with(kSums)) continue;
    const std::string name = sums.name.substr(0, sums.name.size() - kSums.size());
    const StoredTensor& counts = file.tensor(name + ".counts");
    if (!sums.values.format() || !counts.values.format() || sums.type_name != "F32" || counts.type_name != "F32")
      refuse(path, name, "is not F32");
    const std::uint64_t matrices = sums.values.rows(), cols = sums.values.cols();
    if (counts.values.rows() * counts.values.cols() != matrices)
      refuse(path, name, "has not one count for each of its matrices");
    ImatrixEntry entry{std::vector<float>(matrices * cols), {}};
    std::vector<float> number(counts.values.cols());
    for (std::uint64_t m = 0; m < matrices; ++m) {
      const std::span<float> means = std::span(entry.mean_square).subspan(m * cols, cols);
      sums.values.decode_row(m, means);
      counts.values.decode_row(m / counts.values.cols(), number);
      const float count = number[m % counts.values.cols()];
      if (!(count >= 0 && count < 1e18F)) refuse(path, name, "has a count that is negative or not finite");
      entry.counts.push_back(static_cast<std::uint64_t>(count));
      // Weights that nothing was seen of are all equally important.
      for (float& value : means) value = count > 0 ? value / count : 1.0F;
    }
    require_sound(path, name, entry);
    imatrix.entries.emplace(name, std::move(entry));
  }
  return imatrix;
}

Imatrix read_dat(const std::filesystem::path& path) {
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
  Imatrix imatrix;
  const std::size_t num_entries = length("the number of entries", kMostEntries);
  for (std::size_t i = 0; i < num_entries; ++i) {
    const std::string name = text("an entry's name", kLongestName);
    const auto calls = static_cast<float>(length("an entry's number of calls", INT32_MAX));
    const auto bytes = reader.take(length("an entry's number of values", 1 << 26) * sizeof(float), "an entry's values");
    ImatrixEntry entry{std::vector<float>(bytes.size() / sizeof(float)), {static_cast<std::uint64_t>(calls)}};
    std::memcpy(entry.mean_square.data(), bytes.data(), bytes.size());
    for (float& value : entry.mean_square) value = calls > 0 ? value / calls : value;
    require_sound(path, name, entry);
    imatrix.entries.emplace(name, std::move(entry));
  }
  if (reader.remaining() > 0) {
    imatrix.samples = length("the number of chunks", INT32_MAX);
    // However long: a whole path, or a list of them.
    if (reader.remaining() > 0) imatrix.texts = {text("the dataset's name", INT32_MAX)};
  }
  return imatrix;
}

struct SiteParts {
  SiteKey key;
  std::uint64_t experts = 0;  // of the site
  std::vector<const ModelTensor*> tensors;
};

std::vector<SiteParts> site_parts(const ModelTensors& tensors) {
  std::vector<SiteParts> result;
  for (std::int64_t layer = 0; layer < tensors.network().num_layers(); ++layer)
    for (const Site& site : tensors.network().layer(layer).sites)
      for (std::int64_t e = site.first_expert(); e < site.end_expert(); ++e) {
        SiteParts& parts = result.emplace_back(SiteParts{{layer, site.name, e}, site.experts, {}});
        for (const std::string& part : site.parts_of(e)) parts.tensors.push_back(tensors.part(part, layer));
      }
  const ModelTensor* const head = tensors.part("head", -1);
  SiteParts& last = result.emplace_back();
  last.key.site = kHeadSite;
  last.tensors.push_back(head != nullptr ? head : tensors.part("embedding", -1));
  return result;
}

}  // namespace

std::vector<const ModelTensor*> tensors_of_site(const ModelTensors& tensors, const SiteKey& key) {
  if (key.layer < 0 || key.layer >= tensors.network().num_layers()) {
    const ModelTensor* const head = tensors.part("head", -1);
    if (key == SiteKey{.site = std::string(kHeadSite)}) return {head != nullptr ? head : tensors.part("embedding", -1)};
    return {};
  }
  std::vector<const ModelTensor*> result;
  const Site* const site = tensors.network().layer(key.layer).find_site(key.site);
  if (site == nullptr || key.expert < site->first_expert() || key.expert >= site->end_expert()) return {};
  for (const std::string& part : site->parts_of(key.expert)) result.push_back(tensors.part(part, key.layer));
  return result;
}

namespace {

std::string first_bytes(const std::filesystem::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), std::min<std::size_t>(file.bytes().size(), 16)};
}

// A model with fewer layers of the same widths would take the others as its own.
void refuse_further_layers(const std::map<std::string, ImatrixEntry, std::less<>>& entries, const ModelTensors& tensors,
                           const std::filesystem::path& path) {
  constexpr std::string_view kLayer = "blk.";
  std::int64_t last = -1;
  for (const ModelTensor& tensor : tensors.all()) last = std::max(last, tensor.layer);
  for (const auto& [name, entry] : entries) {
    if (!name.starts_with(kLayer)) continue;
    std::int64_t layer = 0;
    std::from_chars(name.data() + kLayer.size(), name.data() + name.size(), layer);
    if (layer > last)
      throw Error(ErrorKind::unusable_input,
                  fmt::format("{}: made for another model: it has '{}', and this model's layers end with {}",
                              path.string(), name, last));
  }
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

Imatrix read_imatrix_entries(const std::filesystem::path& path) {
  return first_bytes(path).starts_with("GGUF") ? read_gguf(path) : read_dat(path);
}

Statistics read_imatrix(const std::filesystem::path& path, const ModelTensors& tensors) {
  Imatrix imatrix = read_imatrix_entries(path);
  Statistics statistics;
  statistics.texts = std::move(imatrix.texts);
  statistics.samples = imatrix.samples;
  statistics.length = imatrix.length;
  refuse_further_layers(imatrix.entries, tensors, path);
  for (const SiteParts& parts : site_parts(tensors)) {
    for (const ModelTensor* const tensor : parts.tensors) {
      const auto found = imatrix.entries.find(tensor->gguf_name);
      if (found == imatrix.entries.end()) continue;
      const ImatrixEntry& entry = found->second;
      const std::uint64_t cols = tensor->shape.back(), matrices = std::max<std::uint64_t>(1, parts.experts);
      if (entry.mean_square.size() != matrices * cols || (entry.counts.size() != 1 && entry.counts.size() != matrices))
        throw Error(ErrorKind::unusable_input,
                    fmt::format("{}: made for another model: '{}' has {} columns, not {}", path.string(),
                                tensor->gguf_name, matrices * cols, entry.mean_square.size()));
      SiteStatistics site;
      static_cast<SiteKey&>(site) = parts.key;
      const auto place = static_cast<std::size_t>(std::max<std::int64_t>(0, parts.key.expert));
      site.count = entry.counts.size() == 1 ? entry.counts[0] : entry.counts[place];
      const auto begin = entry.mean_square.begin() + static_cast<std::ptrdiff_t>(place * cols);
      site.mean_square.assign(begin, begin + static_cast<std::ptrdiff_t>(cols));
      if (const auto order = tensor->network_columns(); !order.empty()) site = reordered(site, order);
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

// What is written of one weight or stack: its statistics, by expert; null where nothing is known.
struct WrittenEntry {
  std::string name;
  std::uint64_t width = 0;
  std::vector<const SiteStatistics*> matrices;
  std::vector<std::uint32_t> column_order;  // of each column the statistics' one; empty: the same

  std::vector<float> mean_square(std::size_t matrix) const {
    return column_order.empty() ? matrices[matrix]->mean_square
                                : reordered(*matrices[matrix], column_order).mean_square;
  }
};

// Where experts of a stack are unknown the others are written all the same.
std::vector<WrittenEntry> written_entries(const Statistics& statistics, const ModelTensors& tensors) {
  std::map<SiteKey, const SiteStatistics*> known;
  for (const SiteStatistics& site : statistics.sites) known.emplace(site, &site);
  std::vector<WrittenEntry> entries;
  std::map<std::string_view, std::size_t> stacks;  // the entry of each stack
  for (const SiteParts& parts : site_parts(tensors)) {
    const auto site = known.find(parts.key);
    for (const ModelTensor* const tensor : parts.tensors) {
      const auto [place, is_new] = stacks.try_emplace(tensor->gguf_name, entries.size());
      if (is_new) entries.push_back({tensor->gguf_name, tensor->shape.back(), {}, tensor->gguf_columns()});
      entries[place->second].matrices.push_back(site == known.end() ? nullptr : site->second);
    }
  }
  std::erase_if(entries, [](const WrittenEntry& entry) {
    return std::ranges::all_of(entry.matrices, [](const SiteStatistics* site) { return site == nullptr; });
  });
  return entries;
}

void write_gguf(const Statistics& statistics, const std::vector<WrittenEntry>& entries,
                const std::filesystem::path& path) {
  GgufMetadata metadata;
  metadata.set("general.type", GgufValue::of_string("imatrix"));
  metadata.set("imatrix.datasets", GgufValue::of_strings(statistics.texts));
  metadata.set("imatrix.chunk_count", GgufValue::of_u32(static_cast<std::uint32_t>(statistics.samples)));
  metadata.set("imatrix.chunk_size", GgufValue::of_u32(static_cast<std::uint32_t>(statistics.length)));
  const FormatPtr f32 = find_raw_format(DType::f32);
  std::vector<PlannedTensor> plan;
  for (const WrittenEntry& entry : entries) {
    plan.push_back({entry.name + ".in_sum2", {entry.matrices.size(), entry.width}, f32});
    plan.push_back({entry.name + ".counts", {entry.matrices.size(), 1}, f32});
  }
  const auto writer = make_gguf_writer(path, metadata, plan);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::vector<const SiteStatistics*>& matrices = entries[i].matrices;
    QuantizedTensor sums(f32, matrices.size(), entries[i].width), counts(f32, matrices.size(), 1);
    for (std::size_t m = 0; m < matrices.size(); ++m) {
      if (matrices[m] == nullptr) continue;
      const float count = static_cast<float>(matrices[m]->count);
      std::vector<float> values = entries[i].mean_square(m);
      for (float& value : values) value *= count;
      std::memcpy(sums.planes[0].data() + m * values.size() * sizeof(float), values.data(),
                  values.size() * sizeof(float));
      std::memcpy(counts.planes[0].data() + m * sizeof count, &count, sizeof count);
    }
    writer->write_rows(2 * i, sums.view());
    writer->write_rows(2 * i + 1, counts.view());
  }
  writer->finish();
}

void write_dat(const Statistics& statistics, const std::vector<WrittenEntry>& entries,
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
  for (const WrittenEntry& entry : entries) {
    text(entry.name);
    number(calls);
    number(entry.matrices.size() * entry.width);
    for (std::size_t m = 0; m < entry.matrices.size(); ++m) {
      const SiteStatistics* const matrix = entry.matrices[m];
      // Columns of a weight that nothing was seen of are all equally important.
      std::vector<float> values(entry.width, 1.0F);
      if (matrix != nullptr && (matrix->count > 0 || matrix->expert < 0)) values = entry.mean_square(m);
      for (float& value : values) value *= static_cast<float>(calls);
      file.write(std::as_bytes(std::span(values)));
    }
  }
  number(statistics.samples);
  text(statistics.texts.empty() ? std::string() : statistics.texts.front());
  file.commit();
}

}  // namespace

void write_imatrix(const Statistics& statistics, const ModelTensors& tensors, const std::filesystem::path& path) {
  const std::vector<WrittenEntry> entries = written_entries(statistics, tensors);
  if (lower_extension(path) == ".dat")
    write_dat(statistics, entries, path);
  else
    write_gguf(statistics, entries, path);
}

}  // namespace nibble
