// SPDX-License-Identifier: Apache-2.0
//
// Folds scales of a site's columns into what produces its activation, where the drawing lets them pass, so that the
// layer computes what it did before.
//
//   if (const auto& fold = layer.drawing().folds[i]) fold_scales(*fold, scales, layer);
#pragma once

#include <span>

#include "calibrate/layer_weights.h"
#include "graph/facts.h"

namespace nibble {

// Multiplies the consumers' columns by scales, of which columns with the same channel have the same one, and divides
// the producer's outputs (and bias) by them.
void fold_scales(const FoldSite& fold, std::span<const float> scales, LayerWeights& layer);

}  // namespace nibble
