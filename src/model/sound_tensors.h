// SPDX-License-Identifier: Apache-2.0
//
// Whether the tensors of a checkpoint are those of the network that its configuration means. Internal to model/; pure.
#pragma once

#include "io/checkpoint.h"
#include "model/arch/architecture.h"
#include "model/config_readers.h"

namespace nibble {

// How a tensor of a file holds a part of the network.
struct Holding {
  bool is_run = false;      // among the rows of other parts
  bool is_stack = false;    // among those of all experts
  bool is_turned = false;   // of a stack: matrices columns by rows
  std::uint64_t kinds = 1;  // of a stack: how many matrices, or vectors, of each expert it has
};

// The one judge of shapes. Error(corrupt) where the tensor has another than the network asks for: names both, and the
// keys that say so with their values; Error(unsupported) where its elements are no weights.
void require_shape(const Checkpoint& checkpoint, const ModelConfig& config, const ModelTensor& part,
                   const StoredTensor& stored, const Holding& holding);

// The same of half of a matrix that makes keys and values of a latent vector, in a GGUF file.
void require_half(const Checkpoint& checkpoint, const StoredTensor& stored, const Shape& wanted);

// Error(corrupt) where a layer has weights that the network does not read, which would then be another one: a bias that
// the configuration denies, a layer more than it counts, experts beyond its number, parts of another family. Tensors of
// the whole model (a classifier, a vision tower) and what needs not be stored (inverse frequencies) may be there.
void require_no_strangers(const Checkpoint& checkpoint, const ModelConfig& config, const ModelTensors& parts);

}  // namespace nibble
