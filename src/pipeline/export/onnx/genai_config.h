// SPDX-License-Identifier: Apache-2.0
//
// genai_config.json, which tells ONNX Runtime GenAI what lies in a package. Pure. Internal to pipeline/export.
#pragma once

#include <string>

#include "model/source_model.h"

namespace nibble {

inline constexpr const char* kGenaiConfigFile = "genai_config.json";

// model_type: of the output's config.json. Ids of special tokens: as generation_config.json, config.json or a GGUF
// file's keys say them.
std::string genai_config(const SourceModel& source, const std::string& config_json);

}  // namespace nibble
