// SPDX-License-Identifier: Apache-2.0
//
// Frameworks that wrap a model put words in front of its tensors' names: torch.compile "_orig_mod.", DDP "module.",
// FSDP
// "_fsdp_wrapped_module.", models with pictures "model.language_model.". Pure functions, safe from any thread.
//
//   unwrap_names(parts.tensors);  // "_orig_mod.model.layers.0. ..." becomes "model.layers.0. ..."
#pragma once

#include <vector>

#include "io/checkpoint.h"

namespace nibble {

// Names as a bare causal model has them, where exactly one embedding says what the prefix is and no two names would
// become one; other names stay.
void unwrap_names(std::vector<StoredTensor>& tensors);

}  // namespace nibble
