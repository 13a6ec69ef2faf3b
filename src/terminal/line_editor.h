// SPDX-License-Identifier: Apache-2.0
//
// Reads what a person writes on a terminal, of one line or several: editing keys as shells have them, pasted text,
// what was written before (up, down, Ctrl-R), completion (Tab), an editor of one's own (Ctrl-G). One thread.
//
//   InputHistory history;
//   LineEditor editor(STDIN_FILENO, STDOUT_FILENO, history);
//   while (true) {
//     const WrittenText written = editor.read({.prompt = ">>> ", .continuation = "... "});
//     if (written.end != WrittenText::End::entered) break;
//     ...
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "terminal/input_history.h"
#include "terminal/key_decoder.h"
#include "terminal/line_buffer.h"
#include "terminal/raw_terminal.h"

namespace nibble {

struct WrittenText {
  enum class End {
    entered,
    interrupted,  // Ctrl-C; text is what stood there
    closed,       // Ctrl-D in an empty line, or the terminal is gone
    stopped,      // should_stop said so
  };
  End end = End::entered;
  std::string text;
};

struct EditorOptions {
  std::string prompt = "> ",
              continuation = "  ";  // before the first line and before each further one; may hold colours
  std::string hint = {};            // shown dimly where nothing is written yet
  std::string initial = {};         // what stands there already
  // What Enter does to this text: true begins a further line. None: a text ends with Enter.
  std::function<bool(std::string_view text)> wants_more = {};
  // Whole texts that this one could become; one is put in its place, of several what all begin with.
  std::function<std::vector<std::string>(std::string_view text)> completions = {};
  std::function<bool()> should_stop = {};  // asked four times a second
};

class LineEditor {
 public:
  // Of a terminal. history must outlive this; what is entered is not added to it here.
  LineEditor(int in, int out, const InputHistory& history) : in_(in), out_(out), history_(history) {}

  // What is typed behind the end of a text belongs to the next one, as long as this lives.

  // Error(io): there is no terminal. Afterwards the cursor is at the beginning of a new line.
  WrittenText read(const EditorOptions& options);

 private:
  struct Search {  // Ctrl-R
    std::string wanted;
    std::optional<std::size_t> found;
    std::string before;  // what stood there
  };
  struct State;
  using End = WrittenText::End;

  std::optional<End> act(State& state, const KeyPress& press);
  std::optional<End> edit(State& state, const KeyPress& press);
  bool search(State& state, const KeyPress& press);
  void recall(State& state, bool older);
  void complete(State& state);
  void edit_outside(State& state);
  void follow(State& state, const TerminalSize& size);
  void draw(State& state, bool at_end = false);

  int in_, out_;
  const InputHistory& history_;
  KeyDecoder decoder_;
  std::vector<KeyPress> unread_;
};

// Opens $VISUAL or $EDITOR (else vi) on the text in a temporary file, and returns what it has become; none when there
// is no place for the file, or the editor failed. From one thread.
std::optional<std::string> edit_in_program(const std::string& text);

}  // namespace nibble
