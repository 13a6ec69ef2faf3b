// SPDX-License-Identifier: Apache-2.0
//
// Text as it comes, broken into lines between words. One thread.
//
//   WordWrap wrap(80);
//   print(wrap.push("some text")); ... print(wrap.finish());
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nibble {

class WordWrap {
 public:
  // columns: of the terminal; 0: nothing is broken.
  explicit WordWrap(std::size_t columns) : columns_(columns) {}

  // From now on; the terminal has another width.
  void set_columns(std::size_t columns) { columns_ = columns; }

  // What can be shown now: a word is held back until it ends. Words longer than a line, and scripts that have no blanks
  // between words, are left to the terminal.
  std::string push(std::string_view text);
  std::string finish();

 private:
  void end_word(std::string& out);
  std::size_t columns_, column_ = 0;
  std::string blanks_, word_;  // blanks_ stand before word_, neither shown yet
  bool in_word_ = false;       // a part of the word is shown already: what follows stays behind it
};

}  // namespace nibble
