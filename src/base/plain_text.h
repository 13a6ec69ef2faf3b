// SPDX-License-Identifier: Apache-2.0
//
// Whether bytes that were given as text are text. What tokenizers make of anything else are figures of nothing.
//
//   if (const std::string kind = foreign_text_kind(bytes); !kind.empty()) ...   // "UTF-16 text; convert it to UTF-8"
//   drop_byte_order_mark(bytes);
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nibble {

// What it is instead, and what to do, in words that follow "looks like "; empty for text in UTF-8 or an encoding of its
// own.
std::string foreign_text_kind(std::string_view bytes);
// The same, but JSON is text, too.
std::string foreign_bytes_kind(std::string_view bytes);

// True when there was one.
bool drop_byte_order_mark(std::string& text);

// How many ill-formed sequences there are: what replace_invalid_utf8 replaces.
std::size_t count_invalid_utf8(std::string_view text);

}  // namespace nibble
