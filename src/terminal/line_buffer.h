// SPDX-License-Identifier: Apache-2.0
//
// A text being written and where in it the cursor is. Moves and deletions go by characters as they are seen
// (base/graphemes), words by white space. One thread.
//
//   LineBuffer buffer("hello world");
//   buffer.delete_word_left();  // "hello "
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nibble {

class LineBuffer {
 public:
  explicit LineBuffer(std::string text = {});

  const std::string& text() const noexcept { return text_; }
  std::size_t cursor() const noexcept { return cursor_; }  // offset in bytes
  void set(std::string text);                              // the cursor at its end
  void insert(std::string_view text);

  // Each is true when something changed.
  bool left();
  bool right();
  bool word_left();
  bool word_right();
  bool home();  // of the line that the cursor is in
  bool end();
  bool up();  // to the line above; false in the first
  bool down();
  bool backspace();
  bool delete_next();
  // What these take away is kept for yank().
  bool delete_word_left();
  bool delete_word_right();
  bool delete_to_start();  // of the line
  bool delete_to_end();
  bool yank();

 private:
  bool move(std::size_t to);
  bool cut(std::size_t begin, std::size_t end);
  std::size_t before(std::size_t offset) const;
  std::size_t after(std::size_t offset) const;
  std::size_t line_begin(std::size_t offset) const;
  std::size_t line_end(std::size_t offset) const;
  std::size_t column_of(std::size_t offset) const;
  std::size_t at_column(std::size_t line, std::size_t column) const;

  std::string text_, kept_;
  std::size_t cursor_ = 0;
};

}  // namespace nibble
