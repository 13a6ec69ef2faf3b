// SPDX-License-Identifier: Apache-2.0
#include "calibrate/statistics_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "io/safetensors/safetensors_header.h"
#include "io/safetensors/safetensors_layout.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr const char* kFormatName = "nibble.statistics";

struct Part {
  LayoutEntry entry;
  std::span<const std::byte> bytes;
};

class Reader {
 public:
  Reader(const MappedFile& file, const SafetensorsHeader& header) : file_(file), header_(header) {}

  [[noreturn]] void refuse(const std::string& name, const std::string& what) const {
    throw Error(ErrorKind::corrupt, fmt::format("{}: tensor '{}' {}", file_.path().string(), name, what));
  }
  const SafetensorsEntry* find(const std::string& name) const {
    const auto found = std::ranges::find(header_.entries, name, &SafetensorsEntry::name);
    return found == header_.entries.end() ? nullptr : &*found;
  }
  // `size`: elements that it must have; 0: any, but one axis.
  template <class T>
  std::vector<T> values(const std::string& name, std::string_view type, std::uint64_t size, bool required) const {
    const SafetensorsEntry* const entry = find(name);
    if (entry == nullptr && !required) return {};
    if (entry == nullptr)
      throw Error(ErrorKind::corrupt, fmt::format("{}: there is no tensor '{}'", file_.path().string(), name));
    const std::uint64_t elements = entry->bytes / sizeof(T);
    if (entry->type_name != type || (size == 0 ? entry->shape.size() != 1 || elements == 0 : elements != size))
      refuse(name,
             fmt::format("is not {} of the site's width: {} {}", type, entry->type_name, shape_text(entry->shape)));
    std::vector<T> result(static_cast<std::size_t>(elements));
    std::memcpy(result.data(), file_.bytes().data() + entry->offset, result.size() * sizeof(T));
    return result;
  }
  std::vector<float> floats(const std::string& name, std::uint64_t size, bool required) const {
    std::vector<float> result = values<float>(name, "F32", size, required);
    for (const float value : result)
      if (!std::isfinite(value)) refuse(name, "holds a value that is not finite");
    return result;
  }

 private:
  const MappedFile& file_;
  const SafetensorsHeader& header_;
};

SiteStatistics read_site(const Reader& reader, const std::string& name) {
  SiteStatistics site;
  site.site = name;
  if (name.starts_with("layers.")) {
    const std::size_t dot = name.find('.', 7);
    const auto [end, error] = std::from_chars(name.data() + 7, name.data() + std::min(dot, name.size()), site.layer);
    if (dot == std::string::npos || error != std::errc() || end != name.data() + dot || site.layer < 0)
      reader.refuse(name + ".count", "names no site");
    site.site = name.substr(dot + 1);
  }
  if (const std::size_t dot = site.site.find('.'); dot != std::string::npos) {
    const char* const last = site.site.data() + site.site.size();
    const auto [end, error] = std::from_chars(site.site.data() + dot + 1, last, site.expert);
    if (error != std::errc() || end != last || site.expert < 0) reader.refuse(name + ".count", "names no site");
    site.site.resize(dot);
  }
  const std::int64_t count = reader.values<std::int64_t>(name + ".count", "I64", 1, true)[0];
  if (count < 0) reader.refuse(name + ".count", "is negative");
  site.count = static_cast<std::uint64_t>(count);
  site.mean_square = reader.floats(name + ".mean_square", 0, true);
  const std::uint64_t width = site.mean_square.size();
  site.absmax = reader.floats(name + ".absmax", width, false);
  site.second_moment = reader.floats(name + ".second_moment", width * width, false);
  for (const std::int64_t bin : reader.values<std::int64_t>(name + ".histogram", "I64", kHistogramBins, false))
    site.histogram.push_back(static_cast<std::uint64_t>(bin));
  for (const std::int64_t bin : reader.values<std::int64_t>(name + ".negatives", "I64", kHistogramBins, false))
    site.negatives.push_back(static_cast<std::uint64_t>(bin));
  if (const std::vector<float> range = reader.floats(name + ".range", 2, site.has_signs()); !range.empty()) {
    if (range[0] > 0 || range[1] < 0) reader.refuse(name + ".range", "does not hold 0");
    site.lowest = range[0];
    site.highest = range[1];
  }
  return site;
}

}  // namespace

void write_statistics(const Statistics& statistics, const std::filesystem::path& path) {
  std::vector<std::int64_t> counts;
  std::vector<std::array<float, 2>> ranges;
  for (const SiteStatistics& site : statistics.sites) ranges.push_back({site.lowest, site.highest});
  for (const SiteStatistics& site : statistics.sites) counts.push_back(static_cast<std::int64_t>(site.count));
  std::vector<Part> parts;
  const auto add = [&](const std::string& name, DType dtype, Shape shape, std::span<const std::byte> bytes) {
    if (!bytes.empty()) parts.push_back({{name, dtype, std::move(shape), bytes.size()}, bytes});
  };
  for (std::size_t i = 0; i < statistics.sites.size(); ++i) {
    const SiteStatistics& site = statistics.sites[i];
    const std::string name = site.name();
    const std::uint64_t n = site.width();
    add(name + ".count", DType::i64, {1}, std::as_bytes(std::span(&counts[i], 1)));
    add(name + ".mean_square", DType::f32, {n}, std::as_bytes(std::span(site.mean_square)));
    add(name + ".absmax", DType::f32, {n}, std::as_bytes(std::span(site.absmax)));
    add(name + ".histogram", DType::i64, {kHistogramBins}, std::as_bytes(std::span(site.histogram)));
    if (site.has_signs()) {
      add(name + ".negatives", DType::i64, {kHistogramBins}, std::as_bytes(std::span(site.negatives)));
      add(name + ".range", DType::f32, {2}, std::as_bytes(std::span(ranges[i])));
    }
    add(name + ".second_moment", DType::f32, {n, n}, std::as_bytes(std::span(site.second_moment)));
  }
  std::vector<LayoutEntry> entries;
  for (const Part& part : parts) entries.push_back(part.entry);
  const std::map<std::string, std::string> metadata = {{"format", kFormatName},
                                                       {"version", "1"},
                                                       {"texts", nlohmann::json(statistics.texts).dump()},
                                                       {"samples", std::to_string(statistics.samples)},
                                                       {"length", std::to_string(statistics.length)}};
  const SafetensorsLayout layout = lay_out_safetensors(entries, path.string(), metadata);
  OutputFile file(path);
  file.write(layout.header);
  for (std::size_t i = 0; i < parts.size(); ++i) file.write_at(layout.offsets[i], parts[i].bytes);
  file.commit();
}

bool is_statistics_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  const SafetensorsHeader header = parse_safetensors(file.bytes(), path.string());
  const auto format = header.metadata.find("format");
  return format != header.metadata.end() && format->second == kFormatName;
}

Statistics read_statistics(const std::filesystem::path& path) {
  const MappedFile file(path);
  const SafetensorsHeader header = parse_safetensors(file.bytes(), path.string());
  const auto metadata = [&](const char* key) {
    const auto found = header.metadata.find(key);
    return found == header.metadata.end() ? std::string() : found->second;
  };
  if (metadata("format") != kFormatName)
    throw Error(ErrorKind::unsupported, path.string() + ": not a file of statistics; 'nibble calibrate' makes one");
  if (metadata("version") != "1")
    throw Error(ErrorKind::unsupported,
                path.string() + ": statistics of another version; make them again: version " + metadata("version"));
  Statistics statistics;
  const auto texts = nlohmann::json::parse(metadata("texts"), nullptr, false);
  if (texts.is_array())
    for (const auto& text : texts)
      if (text.is_string()) statistics.texts.push_back(text.get<std::string>());
  const auto number = [&](const char* key) {
    const std::string text = metadata(key);
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  };
  statistics.samples = number("samples");
  statistics.length = number("length");
  const Reader reader(file, header);
  constexpr std::string_view kCount = ".count";
  for (const SafetensorsEntry& entry : header.entries)
    if (entry.name.ends_with(kCount))
      statistics.sites.push_back(read_site(reader, entry.name.substr(0, entry.name.size() - kCount.size())));
  std::ranges::sort(statistics.sites, [](const SiteStatistics& a, const SiteStatistics& b) {
    const auto key = [](const SiteStatistics& s) { return static_cast<std::uint64_t>(s.layer); };  // -1 comes last
    if (key(a) != key(b)) return key(a) < key(b);
    return a.site != b.site ? a.site < b.site : a.expert < b.expert;
  });
  return statistics;
}

}  // namespace nibble
