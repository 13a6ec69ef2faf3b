// SPDX-License-Identifier: Apache-2.0
#include "serve/api/cut_object.h"

#include <string>
#include <vector>

namespace nibble::serve {

namespace {

// A beginning of a text with what closes it.
struct Beginning {
  std::size_t length = 0;
  std::string closing;  // from the outermost on

  Json parse(std::string_view text) const {
    std::string whole(text.substr(0, length));
    whole.append(closing.rbegin(), closing.rend());
    return Json::parse(whole, nullptr, false);
  }
};

}  // namespace

Json whole_part_of(std::string_view text) {
  if (Json whole = Json::parse(text, nullptr, false); !whole.is_discarded())
    return whole.is_object() ? std::move(whole) : Json::object();
  Beginning last, now;  // the longest one behind which nothing is half a value; all of the text
  bool is_in_text = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    now.length = i + 1;
    if (is_in_text) {
      if (c == '\\') ++i;
      if (c == '"') is_in_text = false;
    } else if (c == '"') {
      is_in_text = true;
    } else if (c == '{' || c == '[') {
      now.closing += c == '{' ? '}' : ']';
      last = now;
    } else if (c == '}' || c == ']') {
      if (now.closing.empty()) break;
      now.closing.pop_back();
      last = now;
    } else if (c == ',') {
      last = {i, now.closing};
    }
  }
  // A text at the end that has its end is a value, or a key without one.
  if (!is_in_text && text.ends_with('"') && now.length == text.size())
    if (Json whole = now.parse(text); whole.is_object()) return whole;
  Json part = last.parse(text);
  return part.is_object() ? std::move(part) : Json::object();
}

}  // namespace nibble::serve
