// SPDX-License-Identifier: Apache-2.0
#include "quantize/statistics.h"

namespace nibble {

float histogram_edge(std::size_t bin) {
  constexpr std::uint32_t kFirst = (127 - 20) * 8;
  return bin == 0 ? 0.0F : std::bit_cast<float>((static_cast<std::uint32_t>(bin) + kFirst) << 20);
}

std::string SiteKey::name() const {
  return (layer < 0 ? "" : "layers." + std::to_string(layer) + ".") + site +
         (expert < 0 ? "" : "." + std::to_string(expert));
}

SiteStatistics reordered(const SiteStatistics& site, const std::vector<std::uint32_t>& order) {
  SiteStatistics moved = site;
  const std::size_t width = order.size();
  for (std::size_t c = 0; c < width; ++c) {
    moved.mean_square[c] = site.mean_square[order[c]];
    if (!site.absmax.empty()) moved.absmax[c] = site.absmax[order[c]];
    for (std::size_t d = 0; d < width && site.has_second_moment(); ++d)
      moved.second_moment[c * width + d] = site.second_moment[order[c] * width + order[d]];
  }
  return moved;
}

const SiteStatistics* Statistics::find(const SiteKey& key) const {
  for (const SiteStatistics& item : sites)
    if (static_cast<const SiteKey&>(item) == key) return &item;
  return nullptr;
}

}  // namespace nibble
