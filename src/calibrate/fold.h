// SPDX-License-Identifier: Apache-2.0
//
// Folds scales of a site's columns into what produces its activation, as the architecture's fold sites say, so that the layer computes
// what it did before.
//
//   const std::vector<std::uint32_t> channel_of = fold_channels(fold, config);
//   fold_scales(fold, channel_of, scales, layer);
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "calibrate/layer_walk.h"

namespace nibble {

// The fold whose consumers are this step's Linears; null when the family has none.
const FoldSite* find_fold(const Architecture& architecture, Step step);

// Per column of the consumers, the producer's output that it reads. Columns with the same one need the same scale.
std::vector<std::uint32_t> fold_channels(const FoldSite& fold, const ModelConfig& config, std::size_t columns);

// Multiplies the consumers' columns by scales and divides the producer's outputs (and bias) by them.
void fold_scales(const FoldSite& fold, std::span<const std::uint32_t> channel_of, std::span<const float> scales, LayerWeights& layer);

}  // namespace nibble
