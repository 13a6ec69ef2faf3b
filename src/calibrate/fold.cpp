// SPDX-License-Identifier: Apache-2.0
#include "calibrate/fold.h"

#include <cstdint>
#include <string>
#include <vector>

namespace nibble {

void fold_scales(const FoldSite& fold, std::span<const float> scales, LayerWeights& layer) {
  for (const std::string& part : fold.consumers) {
    Matrix& weights = layer.at(part);
    for (std::uint64_t row = 0; row < weights.rows; ++row)
      for (std::uint64_t i = 0; i < weights.cols; ++i) weights.values[row * weights.cols + i] *= scales[i];
  }
  Matrix& producer = layer.at(fold.producer);
  const bool is_vector = fold.is_norm;
  const std::string bias = fold.producer + ".bias";
  std::vector<bool> done(is_vector ? producer.cols : producer.rows);
  for (std::size_t i = 0; i < scales.size(); ++i) {
    const std::uint32_t channel = fold.channel_of[i];
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
