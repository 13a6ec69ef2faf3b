// SPDX-License-Identifier: Apache-2.0
#include "terminal/text_layout.h"

#include <locale.h>
#include <wchar.h>

#include <algorithm>

#include "base/graphemes.h"
#include "base/utf8.h"

namespace nibble {

namespace {

// The program never sets its locale: messages and numbers are the same everywhere.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {}
  ~Utf8Locale() {
    if (locale_ != nullptr) freelocale(locale_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

  int width(char32_t code_point) const {
    if (locale_ == nullptr) return 1;
    const locale_t before = uselocale(locale_);
    const int width = ::wcwidth(static_cast<wchar_t>(code_point));
    uselocale(before);
    return width;
  }

 private:
  locale_t locale_;
};

// "ESC [ ... m"; 0 where none begins.
std::size_t colour_size(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const std::size_t end = text.find('m');
  return end == std::string_view::npos ? 0 : end + 1;
}

class Rows {
 public:
  explicit Rows(std::size_t columns) : columns_(std::max<std::size_t>(columns, 2)) { layout_.rows.emplace_back(); }

  void put(std::string_view character, std::size_t width) {
    if (column_ + width > columns_) break_row();
    layout_.rows.back() += character;
    column_ += width;
  }
  void break_row() {
    layout_.rows.emplace_back();
    column_ = 0;
  }
  void put_prompt(std::string_view prompt) {
    for (std::size_t i = 0; i < prompt.size();) {
      if (const std::size_t colour = colour_size(prompt.substr(i)); colour > 0) {
        layout_.rows.back() += prompt.substr(i, colour);
        i += colour;
        continue;
      }
      const std::size_t begin = i;
      const int width = character_width(next_code_point(prompt, i));
      put(prompt.substr(begin, i - begin), static_cast<std::size_t>(width));
    }
  }
  void put_cursor() {
    if (column_ == columns_) break_row();
    layout_.cursor_row = layout_.rows.size() - 1;
    layout_.cursor_column = column_;
  }
  TextLayout take() { return std::move(layout_); }

 private:
  std::size_t columns_, column_ = 0;
  TextLayout layout_;
};

}  // namespace

int character_width(char32_t code_point) {
  if (code_point == '\t') return 2;
  if (code_point < 0x80) return code_point >= 0x20 && code_point != 0x7f ? 1 : 0;
  static const Utf8Locale locale;
  return std::max(0, locale.width(code_point));
}

std::string shown_text(std::string_view text) {
  std::string shown;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool is_c1 = byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (is_c1) ++i;  // control characters of two bytes
    if (!is_c1 && (byte >= 0x20 ? byte != 0x7f : byte == '\n' || byte == '\t')) shown += text[i];
  }
  return shown;
}

std::size_t text_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size();)
    width += static_cast<std::size_t>(character_width(next_code_point(text, i)));
  return width;
}

std::size_t shown_width(std::string_view row) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < row.size();) {
    const std::size_t colour = colour_size(row.substr(i));
    i += colour;
    if (colour == 0) width += static_cast<std::size_t>(character_width(next_code_point(row, i)));
  }
  return width;
}

TextLayout lay_out(std::string_view prompt, std::string_view continuation, std::string_view text, std::size_t cursor,
                   std::size_t columns) {
  Rows rows(columns);
  rows.put_prompt(prompt);
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t begin = i;
    const char32_t code_point = next_code_point(text, i);
    const bool is_control = code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0);
    if (!is_control) i = grapheme_end(text, begin);
    if (begin <= cursor && cursor < i) rows.put_cursor();
    if (code_point == '\n') {
      rows.break_row();
      rows.put_prompt(continuation);
    } else if (code_point == '\t') {
      rows.put("  ", 2);
    } else if (is_control) {
      rows.put("\xef\xbf\xbd", 1);
    } else {
      rows.put(text.substr(begin, i - begin), text_width(text.substr(begin, i - begin)));
    }
  }
  if (cursor >= text.size()) rows.put_cursor();
  return rows.take();
}

}  // namespace nibble
