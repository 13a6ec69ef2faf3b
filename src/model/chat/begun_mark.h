// SPDX-License-Identifier: Apache-2.0
//
// Marks in texts that come piece by piece. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace nibble {

inline constexpr std::string_view kBlanks = " \n\t\r";  // that may stand around marks

// How many bytes at the end of a text may be the beginning of a mark, which is not empty.
inline std::size_t begun_mark(std::string_view text, std::string_view mark) {
  for (std::size_t length = std::min(text.size(), mark.size() - 1); length > 0; --length)
    if (text.ends_with(mark.substr(0, length))) return length;
  return 0;
}

}  // namespace nibble
