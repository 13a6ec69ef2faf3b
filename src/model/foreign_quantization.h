// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints that another program has quantized: named, instead of missing tensors one by one. Internal to model/;
// safe from any thread.
//
//   refuse_foreign_quantization(checkpoint);  // before anything asks for "q_proj.weight"
#pragma once

#include <span>

#include "io/checkpoint.h"
#include "model/arch/architecture.h"

namespace nibble {

// Error(unsupported) names the method (quantization_config and its relatives, or the tensors that give it away), what
// of it is not read, and the next step. A configuration that speaks of a method although the tensors are plain is fine.
void refuse_foreign_quantization(const Checkpoint& checkpoint);

// Of GGUF files: factors of whole matrices that lie beside them (X.scale of X.weight: NVFP4 by other programs, BitNet),
// which no reader here applies. Error(unsupported) names the first that is not 1. own: the names of a family, whose
// tensors those of such a name are.
void refuse_tensor_scales(const Checkpoint& checkpoint, std::span<const TensorName> own = {});

}  // namespace nibble
