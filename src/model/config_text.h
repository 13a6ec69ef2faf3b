// SPDX-License-Identifier: Apache-2.0
//
// What a configuration means where there are no weights yet.
//
//   const ModelConfig config = parse_model_config(text, "shape/config.json");
#pragma once

#include <string>
#include <string_view>

#include "model/config.h"

namespace nibble {

// The text of a Hugging Face config.json. source: named by errors, which are those of read_model_config.
ModelConfig parse_model_config(std::string_view config_json, const std::string& source);

}  // namespace nibble
