// SPDX-License-Identifier: Apache-2.0
//
// What windows need from a tokenizer.
#include <fmt/format.h>

#include <algorithm>

#include "evaluate/windows.h"
#include "nibble/error.h"

namespace nibble {

std::optional<std::int32_t> bos_of(const Tokenizer& tokenizer) {
  return tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt;
}

void require_same_tokens(std::span<const std::int32_t> original, const Tokenizer& candidate, std::string_view text,
                         const EncodeOptions& options) {
  const std::vector<std::int32_t> own = candidate.encode(text, options);
  if (std::ranges::equal(original, own)) return;
  const auto [at_original, at_own] = std::ranges::mismatch(original, own);
  throw Error(ErrorKind::unsupported, fmt::format("the two models cut this text into different tokens, so they cannot "
                                                  "be compared token by token; lengths {} and {}, first "
                                                  "difference at token {}",
                                                  original.size(), own.size(), at_original - original.begin()));
}

}  // namespace nibble
