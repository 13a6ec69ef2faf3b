// SPDX-License-Identifier: Apache-2.0
//
// What windows need from a tokenizer.
#include <fmt/format.h>

#include <algorithm>

#include "evaluate/windows.h"
#include "nibble/error.h"

namespace nibble {

std::optional<std::int32_t> bos_of(const Tokenizer& tokenizer) { return tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt; }

void require_same_tokens(const Tokenizer& original, const Tokenizer& candidate, std::string_view text) {
  if (original.fingerprint() == candidate.fingerprint()) return;
  const std::vector<std::int32_t> a = original.encode(text), b = candidate.encode(text);
  if (a == b) return;
  const auto [at_a, at_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  throw Error(ErrorKind::unsupported,
              fmt::format("the two models cut this text into different tokens, so they cannot be compared token by token; lengths {} and {}, first "
                          "difference at token {}", a.size(), b.size(), at_a - a.begin()));
}

}  // namespace nibble
