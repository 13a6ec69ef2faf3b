// SPDX-License-Identifier: Apache-2.0
//
// llama.cpp's mixes as tables. Facts from llama-quant.cpp (llama_tensor_get_type) and llama.h (file type numbers).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace nibble {

struct MixRule {
  std::string_view pattern, when, format;
};

struct Mix {
  std::string_view name;
  std::uint32_t file_type;
  std::string_view main_format;
  std::string_view description;
  std::span<const MixRule> rules;  // the main format follows for all that no rule takes
};

// Matrices whose rows are looked up; a tied one is the head, too.
inline constexpr std::string_view kEmbeddings = "token_embd.weight|per_layer_token_embd.weight";

std::span<const Mix> all_mixes();

}  // namespace nibble
