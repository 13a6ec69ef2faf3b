// SPDX-License-Identifier: Apache-2.0
#include "io/message_text.h"

#include "base/utf8.h"

namespace nibble {

std::string quote_name(std::string_view name) {
  constexpr std::size_t kLongest = 120;
  std::string text(name.substr(0, kLongest));
  for (std::size_t bad = find_invalid_utf8(text); bad != std::string::npos; bad = find_invalid_utf8(text))
    text[bad] = '?';
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  if (name.size() > kLongest) text += "...";
  return "'" + text + "'";
}

}  // namespace nibble
