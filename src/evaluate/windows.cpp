// SPDX-License-Identifier: Apache-2.0
#include "evaluate/windows.h"

#include <fmt/format.h>

#include <algorithm>

#include "nibble/error.h"

namespace nibble {

namespace {

constexpr std::size_t kShortestWindow = 4;  // the second half must hold at least one prediction

std::size_t default_context(Protocol protocol) { return protocol == Protocol::llama_cpp ? 512 : 2048; }

}  // namespace

std::string_view protocol_name(Protocol protocol) { return protocol == Protocol::llama_cpp ? "llama.cpp" : "paper"; }

Protocol parse_protocol(std::string_view name) {
  for (const Protocol protocol : {Protocol::llama_cpp, Protocol::paper})
    if (name == protocol_name(protocol)) return protocol;
  throw Error(ErrorKind::invalid_argument, fmt::format("unknown protocol; choose llama.cpp or paper: {}", name));
}

Windows cut_windows(std::span<const std::int32_t> ids, std::optional<std::int32_t> bos, std::size_t model_context,
                    const WindowOptions& options) {
  Windows windows;
  windows.protocol = options.protocol;
  windows.context = options.context > 0 ? options.context : std::min(default_context(options.protocol), model_context);
  if (windows.context < kShortestWindow)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("windows must have at least {} tokens: {}", kShortestWindow, windows.context));
  if (windows.context > model_context)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("windows must not be longer than the model's context of {} tokens: {}", model_context,
                            windows.context));
  windows.count = ids.size() / windows.context;
  if (options.max_windows > 0) windows.count = std::min(windows.count, options.max_windows);
  if (windows.count == 0)
    throw Error(ErrorKind::unusable_input,
                fmt::format("the text is shorter than one window; give a longer text or a smaller context: "
                            "the text has {} tokens, a window needs {}",
                            ids.size(), windows.context));
  windows.tokens.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(windows.count * windows.context));
  windows.first_scored = 1;
  if (options.protocol == Protocol::llama_cpp) {
    // llama-perplexity takes the logits of positions context / 2 .. context - 2, each of which predicts the next token.
    windows.first_scored = windows.context / 2 + 1;
    if (bos)
      for (std::size_t i = 0; i < windows.count; ++i) windows.tokens[i * windows.context] = *bos;
  }
  return windows;
}

}  // namespace nibble
