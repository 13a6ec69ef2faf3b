// SPDX-License-Identifier: Apache-2.0
//
// Text from a model.
//
//   nibble::generate_text(model, "Once upon a time", {.max_tokens = 50}, [](std::string_view piece) { std::cout <<
//   piece; return true; });
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "nibble/model.h"
#include "nibble/progress.h"

namespace nibble {

struct GenerateRequest {
  std::size_t max_tokens = 128;
  double temperature = 0;  // 0: always the most probable token
  std::size_t top_k = 40;
  double top_p = 0.95, min_p = 0.05;
  double repetition_penalty = 1;
  std::uint64_t seed = 0;
  MachineOptions machine{};
  ProgressCallback progress{};  // stage "load"
};

struct GeneratedText {
  std::string text;
  std::size_t prompt_tokens = 0, generated_tokens = 0;
  double prompt_seconds = 0, decode_seconds = 0;
};

// on_text takes whole characters as they come and may return false to stop; it may be empty.
// Errors: unusable_input (empty prompt, prompt longer than the context), invalid_argument, not_found (no tokenizer),
// corrupt, unsupported.
GeneratedText generate_text(const Model& model, std::string_view prompt, const GenerateRequest& request,
                            const std::function<bool(std::string_view)>& on_text);

}  // namespace nibble
