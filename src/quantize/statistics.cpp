// SPDX-License-Identifier: Apache-2.0
#include "quantize/statistics.h"

namespace nibble {

float histogram_edge(std::size_t bin) {
  constexpr std::uint32_t kFirst = (127 - 20) * 8;
  return bin == 0 ? 0.0F : std::bit_cast<float>((static_cast<std::uint32_t>(bin) + kFirst) << 20);
}

std::string SiteStatistics::name() const { return layer < 0 ? site : "layers." + std::to_string(layer) + "." + site; }

const SiteStatistics* Statistics::find(std::int64_t layer, std::string_view site) const {
  for (const SiteStatistics& item : sites)
    if (item.layer == layer && item.site == site) return &item;
  return nullptr;
}

}  // namespace nibble
