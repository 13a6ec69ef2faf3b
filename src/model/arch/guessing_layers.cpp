// SPDX-License-Identifier: Apache-2.0
#include "model/arch/guessing_layers.h"

#include <fmt/format.h>

#include <algorithm>

namespace nibble {

void read_guessing_layers(const HuggingFaceFields& fields, ModelConfig& c) {
  c.guessing_layers =
      std::min(fields.integer("num_nextn_predict_layers", fields.integer("num_mtp_layers", 1)), kMaxLayers);
}

void leave_guessing_layers(const GgufKeys& keys, ModelConfig& c) {
  c.guessing_layers = keys.integer("nextn_predict_layers").value_or(0);
  if (c.guessing_layers >= c.layers)
    keys.wrong("nextn_predict_layers", fmt::format("must be less than block_count: {}", c.guessing_layers));
  c.layers -= c.guessing_layers;
}

}  // namespace nibble
