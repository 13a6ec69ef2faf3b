// SPDX-License-Identifier: Apache-2.0
//
// What a person typed, out of the bytes that a terminal sends: characters, editing keys, pasted text (between the marks
// of bracketed paste, xterm's control sequences). One thread.
//
//   KeyDecoder decoder;
//   for (const KeyPress& press : decoder.feed(bytes)) act_on(press);
//   if (decoder.waiting() && nothing_more_came) for (const KeyPress& press : decoder.flush()) act_on(press);
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nibble {

enum class Key {
  text,  // of the press: one character, or all that was pasted
  enter,
  new_line,  // Alt-Enter, Ctrl-J where it is told from Enter
  tab,
  escape,
  backspace,
  delete_next,
  left,
  right,
  up,
  down,
  home,
  end,
  word_left,
  word_right,
  delete_word_left,
  delete_word_right,
  delete_to_start,
  delete_to_end,
  yank,
  search,        // Ctrl-R
  clear_screen,  // Ctrl-L
  interrupt,     // Ctrl-C
  end_of_input,  // Ctrl-D
  suspend,       // Ctrl-Z
  outside,       // Ctrl-G: an editor of its own
};

struct KeyPress {
  Key key = Key::text;
  std::string text = {};  // UTF-8; of a paste with its line ends as \n and without other control characters but tabs
  bool operator==(const KeyPress&) const = default;
};

class KeyDecoder {
 public:
  std::vector<KeyPress> feed(std::string_view bytes);
  // True in the middle of a sequence: an Escape that nothing follows is a key of its own, and a paste may never end.
  bool waiting() const noexcept { return !held_.empty() || pasting_; }
  bool pasting() const noexcept { return pasting_; }
  // What is held, as it is, when no more came.
  std::vector<KeyPress> flush();

 private:
  std::size_t take(std::string_view bytes, std::vector<KeyPress>& presses);
  std::size_t take_paste(std::string_view bytes, std::vector<KeyPress>& presses);
  std::size_t take_sequence(std::string_view bytes, std::vector<KeyPress>& presses);
  std::string held_, pasted_;
  bool pasting_ = false;
};

}  // namespace nibble
