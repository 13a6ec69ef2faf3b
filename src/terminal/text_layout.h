// SPDX-License-Identifier: Apache-2.0
//
// How text lies on a terminal: the width of characters, and a text in rows of so many columns. Safe from any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

// Columns: 0 of combining marks and of what is not shown, 2 of East Asian wide characters and of tabs; as the system's
// wcwidth has it in a UTF-8 locale, whatever the program's own is.
int character_width(char32_t code_point);
std::size_t text_width(std::string_view text);
// The same of a row that may hold colours.
std::size_t shown_width(std::string_view row);

// Text from elsewhere (a model's, a file's name): without the control characters that a terminal would obey. Line ends
// and tabs stay.
std::string shown_text(std::string_view text);

struct TextLayout {
  std::vector<std::string> rows;  // at least one; a full row before the cursor is followed by an empty one
  std::size_t cursor_row = 0, cursor_column = 0;
};

// prompt stands before the first line of the text, continuation before each further one; both may hold colours (SGR
// sequences), which take no room, and no other control characters. cursor: offset in text, in bytes. Tabs become
// blanks, other control characters a replacement.
TextLayout lay_out(std::string_view prompt, std::string_view continuation, std::string_view text, std::size_t cursor,
                   std::size_t columns);

}  // namespace nibble
