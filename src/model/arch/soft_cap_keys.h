// SPDX-License-Identifier: Apache-2.0
//
// Bounds of scores and logits as configurations say them. Internal to model/.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "model/gguf_keys.h"
#include "model/huggingface_fields.h"

namespace nibble {

// Far beyond any cap or length that makes sense is unsound; what is inside survives f32.
bool is_sound_cap(double value);

// A key that is null says that there is none: 0. usual: where the key is absent.
float read_soft_cap(const HuggingFaceFields& fields, const char* key, double usual);
float read_soft_cap(const GgufKeys& keys, std::string_view key, double usual);
void write_soft_cap(nlohmann::ordered_json& json, const char* key, float cap);

}  // namespace nibble
