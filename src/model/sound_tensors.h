// SPDX-License-Identifier: Apache-2.0
//
// Whether the tensors of a checkpoint are those of the network that its configuration means. Internal to model/; pure.
#pragma once

#include "io/checkpoint.h"
#include "model/arch/architecture.h"
#include "model/config_readers.h"

namespace nibble {

// Error(corrupt) where routers or experts are of other counts or widths than the configuration says; names key and
// tensor.
void require_sound_experts(const Checkpoint& checkpoint, const ModelConfig& config, const ConfigKeys& keys);

// Error(corrupt) where a layer has weights that the network does not read, which would then be another one: a bias that
// the configuration denies, a layer more than it counts, experts beyond its number, parts of another family. Tensors of
// the whole model (a classifier, a vision tower) and what needs not be stored (inverse frequencies) may be there.
void require_no_strangers(const Checkpoint& checkpoint, const ModelConfig& config, const ModelTensors& parts);

}  // namespace nibble
