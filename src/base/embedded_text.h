// SPDX-License-Identifier: Apache-2.0
//
// A text file that was put into the library when it was built (cmake/EmbedText.cmake).
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace nibble {

struct EmbeddedText {
  std::string_view name;                     // "page.css"
  std::string_view hash;                     // SHA-256 of it, in hexadecimal digits
  std::span<const std::string_view> pieces;  // the text, cut

  std::string text() const {
    std::string whole;
    for (const std::string_view piece : pieces) whole += piece;
    return whole;
  }
};

}  // namespace nibble
