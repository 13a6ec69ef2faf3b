// SPDX-License-Identifier: Apache-2.0
//
// Characters as they are seen: grapheme clusters (Unicode Standard Annex 29, extended), such as a letter with its
// combining marks, a flag, a family of emoji. Pure, safe from any thread.
//
//   const std::size_t end = grapheme_end(text, 0);  // 3 of "e\xCC\x81x"
#pragma once

#include <cstddef>
#include <string_view>

namespace nibble {

// Where the cluster ends that begins at `offset` of well-formed UTF-8; the text's end where there is none.
std::size_t grapheme_end(std::string_view text, std::size_t offset) noexcept;

}  // namespace nibble
