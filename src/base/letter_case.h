// SPDX-License-Identifier: Apache-2.0
//
// Spellings that are told apart by their letters alone: A to Z as a to z, in no locale; every other byte stays. Safe
// from any thread.
//
//   if (lower_case("Q4_K") == "q4_k") ...
#pragma once

#include <string>
#include <string_view>

namespace nibble {

inline std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

}  // namespace nibble
