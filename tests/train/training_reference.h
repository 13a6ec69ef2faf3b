// SPDX-License-Identifier: Apache-2.0
//
// The numbers of tools/reference_optimizers.py.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>

namespace nibble {

inline nlohmann::json training_reference() {
  std::ifstream file(NIBBLE_SOURCE_DIR "/tests/data/train/optimizers.json");
  return nlohmann::json::parse(file);
}

}  // namespace nibble
