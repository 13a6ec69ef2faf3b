// SPDX-License-Identifier: Apache-2.0
//
// What stands behind an installed LoadedModel and its sequences. Internal to pipeline/api/.
#pragma once

#include <memory>
#include <mutex>

#include "engine/decoder.h"
#include "nibble/engine.h"
#include "pipeline/api/model_state.h"

namespace nibble {

// Tells apart what was made by whom, even where that is gone and something else has its address.
using Identity = std::shared_ptr<const int>;

struct LoadedModel::State {
  State(const Model& source, const LoadOptions& options);

  Model model;
  Machine machine;
  Decoder decoder;
  std::mutex busy;  // held by whoever steps the decoder
  Identity identity = std::make_shared<const int>();
};

struct Sequence::State {
  Identity owner;  // the model's
  KvCache cache;
  Identity identity = std::make_shared<const int>();
};

struct SequencePoint::State {
  Identity sequence;
  SavedPoint point;
};

}  // namespace nibble
