// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/safetensors_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <tuple>
#include <unordered_set>

#include "io/message_text.h"
#include "io/safetensors/safetensors_header.h"
#include "nibble/error.h"

namespace nibble {

SafetensorsLayout lay_out_safetensors(const std::vector<LayoutEntry>& entries, const std::string& output,
                                      const std::map<std::string, std::string>& metadata) {
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    return std::tie(entries[b].dtype, entries[a].name) < std::tie(entries[a].dtype, entries[b].name);
  });

  std::unordered_set<std::string_view> names;
  for (const LayoutEntry& entry : entries)
    if (!names.insert(entry.name).second)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{}: two tensors or planes would be named {}", output, quote_name(entry.name)));

  std::string text = "{\"__metadata__\":" + nlohmann::json(metadata).dump();
  SafetensorsLayout layout;
  layout.offsets.resize(entries.size());
  std::uint64_t end = 0;
  for (const std::size_t i : order) {
    const LayoutEntry& entry = entries[i];
    if (entry.name == "__metadata__")
      throw Error(ErrorKind::unsupported, fmt::format("{}: a tensor cannot be named '__metadata__'", output));
    layout.offsets[i] = end;
    text += fmt::format(",{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        nlohmann::json(entry.name).dump(), dtype_name(entry.dtype), fmt::join(entry.shape, ","), end,
                        end + entry.bytes);
    end += entry.bytes;
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kSafetensorsMaxHeader)
    throw Error(ErrorKind::unsupported, fmt::format("{}: header is over the limit of {} bytes; use smaller shards: {}",
                                                    output, kSafetensorsMaxHeader, text.size()));

  const std::uint64_t length = text.size();
  layout.header.resize(sizeof length);
  std::memcpy(layout.header.data(), &length, sizeof length);
  layout.header += text;
  for (std::uint64_t& offset : layout.offsets) offset += layout.header.size();
  layout.file_bytes = layout.header.size() + end;
  return layout;
}

}  // namespace nibble
