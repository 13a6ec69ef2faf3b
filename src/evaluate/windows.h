// SPDX-License-Identifier: Apache-2.0
//
// How a text is cut into windows and which of their tokens are scored.
//
//   Windows windows = cut_windows(tokenizer.encode(text), bos_of(tokenizer), decoder.config().context, {});
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "nibble/evaluate.h"

namespace nibble {

std::string_view protocol_name(Protocol protocol);  // "llama.cpp", "paper"
// Error(invalid_argument) lists the names.
Protocol parse_protocol(std::string_view name);

struct WindowOptions {
  Protocol protocol = Protocol::llama_cpp;
  std::size_t context = 0;  // tokens in a window; 0: the protocol's own, or the model's context where that is shorter
  std::size_t max_windows = 0;  // 0: all
  bool parse_special = false;   // who encodes the text takes the text of control tokens for that token
};

// Tokens [window * context + i]. A window's tokens first_scored .. context - 1 are predicted from those before them.
struct Windows {
  Protocol protocol = Protocol::llama_cpp;
  std::size_t context = 0, first_scored = 0, count = 0;
  std::vector<std::int32_t> tokens;

  std::span<const std::int32_t> window(std::size_t index) const {
    return std::span(tokens).subspan(index * context, context);
  }
  std::size_t scored_per_window() const { return context - first_scored; }
  std::uint64_t tokens_scored() const { return std::uint64_t{count} * scored_per_window(); }
};

// The begin token, when the tokenizer puts one before texts.
std::optional<std::int32_t> bos_of(const Tokenizer& tokenizer);

// ids: the whole text's, with special tokens as the tokenizer adds them. Tokens after the last whole window are left
// out. Error(unusable_input): fewer tokens than one window (says both). Error(invalid_argument): a context below 4 or
// beyond model_context.
Windows cut_windows(std::span<const std::int32_t> ids, std::optional<std::int32_t> bos, std::size_t model_context,
                    const WindowOptions& options);

// Judges that a candidate reads a text as its original does, whose ids are given. options: those that these were
// encoded with, since tokenizers may differ in control tokens alone. Error(unsupported) says where they part.
void require_same_tokens(std::span<const std::int32_t> original, const Tokenizer& candidate, std::string_view text,
                         const EncodeOptions& options);

}  // namespace nibble
