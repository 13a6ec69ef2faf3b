// SPDX-License-Identifier: Apache-2.0
//
// Paragraphs for a terminal. Pure.
//
//   std::string text = wrapped_text("A long sentence ...", 2);
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nibble {

// Lines of at most 100 columns, each after `indent` spaces. Words stay whole; wide characters may stand at any line's
// end, but none of the signs that close a sentence at its beginning.
std::string wrapped_text(std::string_view text, std::size_t indent);

}  // namespace nibble
