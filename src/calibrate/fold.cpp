// SPDX-License-Identifier: Apache-2.0
#include "calibrate/fold.h"

#include <algorithm>
#include <numeric>

namespace nibble {

const FoldSite* find_fold(const Architecture& architecture, Step step) {
  const auto parts = parts_of(step);
  for (const FoldSite& fold : architecture.folds)
    if (std::ranges::equal(fold.consumers, parts)) return &fold;
  return nullptr;
}

std::vector<std::uint32_t> fold_channels(const FoldSite& fold, const ModelConfig& config, std::size_t columns) {
  std::vector<std::uint32_t> channel_of(columns);
  std::iota(channel_of.begin(), channel_of.end(), 0u);
  if (!fold.grouped_heads) return channel_of;
  const std::uint64_t shared = config.heads / config.kv_heads;
  for (std::uint32_t& channel : channel_of) {
    const std::uint64_t head = channel / config.head_dim, within = channel % config.head_dim;
    channel = static_cast<std::uint32_t>(head / shared * config.head_dim + within);
  }
  return channel_of;
}

void fold_scales(const FoldSite& fold, std::span<const std::uint32_t> channel_of, std::span<const float> scales, LayerWeights& layer) {
  for (const std::string_view part : fold.consumers) {
    Matrix& weights = layer.at(part);
    for (std::uint64_t row = 0; row < weights.rows; ++row)
      for (std::uint64_t i = 0; i < weights.cols; ++i) weights.values[row * weights.cols + i] *= scales[i];
  }
  Matrix& producer = layer.at(fold.producer);
  const bool is_vector = producer.rows == 1;
  const std::string bias = std::string(fold.producer) + ".bias";
  std::vector<bool> done(is_vector ? producer.cols : producer.rows);
  for (std::size_t i = 0; i < scales.size(); ++i) {
    const std::uint32_t channel = channel_of[i];
    if (done[channel]) continue;
    done[channel] = true;
    if (is_vector) {
      producer.values[channel] /= scales[i];
      continue;
    }
    for (std::uint64_t j = 0; j < producer.cols; ++j) producer.values[channel * producer.cols + j] /= scales[i];
    if (layer.has(bias)) layer.at(bias).values[channel] /= scales[i];
  }
}

}  // namespace nibble
