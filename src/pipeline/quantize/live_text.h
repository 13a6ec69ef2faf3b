// SPDX-License-Identifier: Apache-2.0
//
// Text on its way through a model that is being quantized, of LayerQuantizer alone. Internal to pipeline/.
#pragma once

#include <optional>

#include "calibrate/calibration_text.h"
#include "calibrate/layer_walk.h"
#include "calibrate/window_share.h"
#include "pipeline/quantize/loss_weights.h"
#include "pipeline/quantize/quantize_layers.h"

namespace nibble {

struct LayerQuantizer::Live {
  CalibrationTokens tokens;
  WindowShare share;             // of several ranks: which windows are walked here,
  CalibrationTokens own_tokens;  // and their tokens
  std::optional<LossWeights> weights;
  std::optional<LayerWalk> original,
      stored;  // the text through the original's layers, and through those quantized so far
};

}  // namespace nibble
