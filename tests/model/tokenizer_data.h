// SPDX-License-Identifier: Apache-2.0
//
// Reading of tests/data/tokenizer, and the vocabularies of llama.cpp's vectors rebuilt from it.
//
//   const Tokenizer tokenizer = Tokenizer::from_gguf(llama_spm_metadata(), "llama-spm");
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "io/gguf/gguf_value.h"

namespace nibble {

std::string read_tokenizer_file(const std::string& name);  // of tests/data/tokenizer
std::string read_repository_file(const std::string& name);
nlohmann::json read_tokenizer_vectors(const std::string& name);

GgufMetadata gpt2_metadata();
GgufMetadata llama_spm_metadata();
GgufMetadata phi3_metadata();

}  // namespace nibble
