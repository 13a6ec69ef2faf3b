// SPDX-License-Identifier: Apache-2.0
#include "report/wrapped_text.h"

#include "base/utf8.h"
#include "report/table.h"

namespace nibble {
namespace {

bool is_wide(char32_t c) { return c >= 0x2e80; }
bool opens(char32_t c) { return c == U'（' || c == U'“'; }
bool closes(char32_t c) { return std::u32string_view(U"，。；：、）！？”").find(c) != std::u32string_view::npos; }

}  // namespace

std::string wrapped_text(std::string_view text, std::size_t indent) {
  constexpr std::size_t kWidth = 100;
  std::string result(indent, ' '), word;
  std::size_t column = indent;
  bool space = false, is_open = false;
  const auto put = [&](bool may_break) {
    const std::size_t width = display_width(word);
    if (may_break && column + (space ? 1 : 0) + width > kWidth) {
      result += "\n" + std::string(indent, ' ');
      column = indent;
      space = false;
    }
    if (space) result += ' ', ++column;
    result += word;
    column += width;
    word.clear();
    space = false;
  };
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == ' ') {
      if (!word.empty()) put(true);
      space = true;
      ++at;
      continue;
    }
    const std::size_t begin = at;
    const char32_t c = next_code_point(text, at);
    if (is_wide(c) && !word.empty() && !is_open) put(true);
    word += text.substr(begin, at - begin);
    is_open = opens(c);
    if (is_wide(c) && !is_open) put(!closes(c));
  }
  if (!word.empty()) put(true);
  return result + "\n";
}

}  // namespace nibble
