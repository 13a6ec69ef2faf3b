// SPDX-License-Identifier: Apache-2.0
//
// A tiny model with text on its way through it, layer by layer.
//
//   WalkedModel model("tiny_tied", 16);
//   model.walk_through([&](LayerWeights& layer) { ... });   // every layer, before the text meets it
//   use(model.outputs(0));
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "calibrate/layer_walk.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {

// Whole windows of the reference's tokens.
inline CalibrationTokens tokens_of(const ReferenceLogits& reference, std::size_t length) {
  CalibrationTokens tokens;
  tokens.length = length;
  tokens.ids.assign(reference.ids.begin(),
                    reference.ids.begin() + static_cast<std::ptrdiff_t>(reference.ids.size() / length * length));
  return tokens;
}

struct WalkedModel {
  SourceModel checkpoint;
  ModelConfig config;
  ModelTensors tensors;
  CalibrationTokens tokens;
  Machine machine{chosen_isa(), 2};
  LayerWalk walk;

  WalkedModel(const std::string& name, std::size_t length, WalkArithmetic arithmetic = WalkArithmetic::f32)
      : checkpoint(SourceModel::open(data_directory() / name)),
        config(checkpoint.config()),
        tensors(config),
        tokens(tokens_of(ReferenceLogits::read(name), length)),
        walk(tensors.network(), tokens, {.kernels = exact_options().kernels, .arithmetic = arithmetic}, machine) {}

  LayerWeights begin() { return {checkpoint, tensors, Network::kBegin, machine.pool}; }
  Matrix matrix(std::string_view part) { return decode_matrix(checkpoint, *tensors.part(part, -1), machine.pool); }

  // change: sees each layer before the text does. seen: after each site's weights are packed, before they are applied.
  void walk_through(const std::function<void(LayerWeights&)>& change,
                    const std::function<void(const Site&, const LayerWeights&)>& seen = {}) {
    walk.embed(stored_rows(checkpoint), begin());
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(config.layers); ++i) {
      LayerWeights layer(checkpoint, tensors, i, machine.pool);
      if (change) change(layer);
      for (const Site& site : layer.drawing().sites) {
        walk.pack(site, layer);
        if (seen) seen(site, layer);
        walk.leave(site, layer);
      }
    }
  }

  // The final norm's outputs of a window.
  std::vector<float> outputs(std::size_t window) {
    const auto x = walk.head_inputs(matrix("final_norm").values, window);
    return {x.begin(), x.end()};
  }
};

}  // namespace nibble
