// SPDX-License-Identifier: Apache-2.0
//
// The key of config.json that says of every layer what it attends to. Internal to model/; pure.
//
//   if (const auto slides = read_layer_types(fields, config.layers, "sliding_attention")) config.slides = *slides;
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/huggingface_fields.h"

namespace nibble {

// layer_types: by layer, whether it is of this kind; full_attention is the only other one. nullopt: the key is absent.
// Error(corrupt): no list, or one of another length; Error(unsupported): a third kind.
std::optional<std::vector<bool>> read_layer_types(const HuggingFaceFields& fields, std::uint64_t layers,
                                                  const char* kind);

}  // namespace nibble
