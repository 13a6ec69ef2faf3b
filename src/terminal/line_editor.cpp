// SPDX-License-Identifier: Apache-2.0
#include "terminal/line_editor.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "terminal/text_layout.h"

namespace nibble {

namespace {

constexpr int kEscapeWait = 50, kStopWait = 250, kPasteWait = 1000;  // milliseconds

std::string common_beginning(const std::vector<std::string>& texts) {
  std::string common = texts.front();
  for (const std::string& text : texts) {
    const auto [end, other] = std::mismatch(common.begin(), common.end(), text.begin(), text.end());
    common.erase(end, common.end());
  }
  return common;
}

// Of what becomes part of a prompt.
std::string one_line(std::string_view text) {
  std::string line = shown_text(text);
  std::ranges::replace_if(line, [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return line;
}

// The variable may hold options, as shells take it; the path is an argument of its own.
bool run_editor(const std::string& program, const std::string& path) {
  const pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) {
    for (const int number : {SIGPIPE, SIGXFSZ, SIGINT}) ::signal(number, SIG_DFL);
    const std::string command = program + " \"$1\"";
    ::execl("/bin/sh", "sh", "-c", command.c_str(), "sh", path.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

struct LineEditor::State {
  const EditorOptions& options;
  RawTerminal terminal;
  LineBuffer buffer;
  std::size_t recalled;  // which entry of the history stands there; its size: none
  std::string own;       // what was being written before an entry was recalled
  std::optional<Search> search;
  std::size_t drawn_row = 0;  // where in the drawing the cursor is
  TerminalSize drawn_size{};
  std::vector<std::size_t> drawn_widths = {};  // columns of the drawing's rows up to the cursor
};

WrittenText LineEditor::read(const EditorOptions& options) {
  State state{options, RawTerminal(in_, out_), LineBuffer(options.initial), history_.entries().size(), {}, {}};
  draw(state);
  std::optional<End> end;
  bool typed_before = true;  // Enter of before the keys came one by one is a line end
  while (!end) {
    std::string bytes;
    const bool waiting = decoder_.waiting();
    const int wait = typed_before ? 0 : decoder_.pasting() ? kPasteWait : waiting ? kEscapeWait : kStopWait;
    const RawTerminal::Read read = state.terminal.read(bytes, wait);
    const TerminalSize size = state.terminal.size();
    const bool is_resized = size != state.drawn_size;
    if (is_resized) follow(state, size);
    if (typed_before) std::ranges::replace(bytes, '\n', '\r');
    if (read == RawTerminal::Read::closed) end = End::closed;
    if (options.should_stop && options.should_stop()) end = End::stopped;
    std::vector<KeyPress> presses = std::exchange(unread_, {}), fresh;
    if (read == RawTerminal::Read::bytes)
      fresh = decoder_.feed(bytes);
    else if (waiting && wait > 0 && !is_resized)
      fresh = decoder_.flush();
    presses.insert(presses.end(), fresh.begin(), fresh.end());
    for (const KeyPress& press : presses) {
      if (end)
        unread_.push_back(press);
      else
        end = act(state, press);
    }
    if (!end && (!presses.empty() || is_resized)) draw(state);
    typed_before = false;
  }
  state.search.reset();
  state.buffer.set(state.buffer.text());
  draw(state, true);
  return {*end, state.buffer.text()};
}

std::optional<LineEditor::End> LineEditor::act(State& state, const KeyPress& press) {
  if (state.search && search(state, press)) return std::nullopt;
  return edit(state, press);
}

std::optional<LineEditor::End> LineEditor::edit(State& state, const KeyPress& press) {
  LineBuffer& buffer = state.buffer;
  switch (press.key) {
    case Key::text:
      buffer.insert(press.text);
      break;
    case Key::enter:
      if (!state.options.wants_more || !state.options.wants_more(buffer.text())) return End::entered;
      buffer.set(buffer.text() + '\n');
      break;
    case Key::new_line:
      buffer.insert("\n");
      break;
    case Key::interrupt:
      return End::interrupted;
    case Key::end_of_input:
      if (buffer.text().empty()) return End::closed;
      buffer.delete_next();
      break;
    case Key::backspace:
      buffer.backspace();
      break;
    case Key::delete_next:
      buffer.delete_next();
      break;
    case Key::left:
      buffer.left();
      break;
    case Key::right:
      buffer.right();
      break;
    case Key::word_left:
      buffer.word_left();
      break;
    case Key::word_right:
      buffer.word_right();
      break;
    case Key::home:
      buffer.home();
      break;
    case Key::end:
      buffer.end();
      break;
    case Key::up:
      if (!buffer.up()) recall(state, true);
      break;
    case Key::down:
      if (!buffer.down()) recall(state, false);
      break;
    case Key::delete_word_left:
      buffer.delete_word_left();
      break;
    case Key::delete_word_right:
      buffer.delete_word_right();
      break;
    case Key::delete_to_start:
      buffer.delete_to_start();
      break;
    case Key::delete_to_end:
      buffer.delete_to_end();
      break;
    case Key::yank:
      buffer.yank();
      break;
    case Key::tab:
      complete(state);
      break;
    case Key::search:
      state.search = Search{{}, {}, buffer.text()};
      break;
    case Key::clear_screen:
      state.terminal.write("\x1b[H\x1b[2J");
      state.drawn_row = 0;
      break;
    case Key::suspend:
      state.terminal.write("\r\n");
      state.terminal.lend([] { ::raise(SIGTSTP); });
      state.drawn_row = 0;
      break;
    case Key::outside:
      edit_outside(state);
      break;
    case Key::escape:
      break;
  }
  return std::nullopt;
}

// Whether the key belonged to the search. Any other one ends it and does what it does elsewhere.
bool LineEditor::search(State& state, const KeyPress& press) {
  Search& search = *state.search;
  std::size_t end = history_.entries().size();
  switch (press.key) {
    case Key::text:
      search.wanted += press.text;
      if (search.found) end = *search.found + 1;
      break;
    case Key::backspace: {
      LineBuffer wanted(search.wanted);
      wanted.backspace();
      search.wanted = wanted.text();
      break;
    }
    case Key::search:
      if (search.found) end = *search.found;
      break;
    case Key::interrupt:
    case Key::escape:
      state.buffer.set(search.before);
      state.recalled = history_.entries().size();
      state.search.reset();
      return true;
    default:
      state.search.reset();
      return false;
  }
  if (const std::optional<std::size_t> found = history_.find_before(end, search.wanted);
      found && !search.wanted.empty()) {
    if (state.recalled == history_.entries().size()) state.own = search.before;
    search.found = found;
    state.recalled = *found;
    state.buffer.set(history_.entries()[*found]);
  }
  return true;
}

void LineEditor::recall(State& state, bool older) {
  const std::vector<std::string>& entries = history_.entries();
  if (older ? state.recalled == 0 : state.recalled >= entries.size()) return;
  if (state.recalled == entries.size()) state.own = state.buffer.text();
  state.recalled += older ? std::size_t(-1) : 1;
  state.buffer.set(state.recalled == entries.size() ? state.own : entries[state.recalled]);
}

void LineEditor::complete(State& state) {
  if (!state.options.completions) return;
  const std::vector<std::string> found = state.options.completions(state.buffer.text());
  if (found.empty()) return;
  const std::string common = common_beginning(found);
  if (common.size() > state.buffer.text().size() || found.size() == 1) return state.buffer.set(common);
  draw(state, true);
  std::string line;
  for (const std::string& text : found) line += (line.empty() ? "" : "  ") + text;
  state.terminal.write(shown_text(line) + "\r\n");
  state.drawn_row = 0;
}

void LineEditor::edit_outside(State& state) {
  draw(state, true);
  std::optional<std::string> text;
  state.terminal.lend([&] { text = edit_in_program(state.buffer.text()); });
  if (!text) state.terminal.write("the editor failed\r\n");
  if (text) state.buffer.set(*text);
}

// Terminals break rows anew that are wider than they have become: the cursor is further down then.
void LineEditor::follow(State& state, const TerminalSize& size) {
  if (state.drawn_row == 0 && state.drawn_widths.empty()) return;
  state.drawn_row = 0;
  for (std::size_t i = 0; i < state.drawn_widths.size(); ++i) {
    const bool is_last = i + 1 == state.drawn_widths.size();
    const std::size_t width = state.drawn_widths[i];
    state.drawn_row +=
        is_last ? width / size.columns : std::max<std::size_t>(1, (width + size.columns - 1) / size.columns);
  }
}

// Over what was drawn before. Of what is higher than the terminal the part around the cursor is shown.
void LineEditor::draw(State& state, bool at_end) {
  state.drawn_size = state.terminal.size();
  const auto [height, columns] = state.drawn_size;
  std::string prompt = state.options.prompt;
  if (state.search) prompt = "(search '" + one_line(state.search->wanted) + "') ";
  TextLayout layout = lay_out(prompt, state.options.continuation, state.buffer.text(), state.buffer.cursor(), columns);
  const bool hinted = !at_end && state.buffer.text().empty() && !state.options.hint.empty() &&
                      text_width(state.options.hint) + layout.cursor_column < columns;
  if (hinted) layout.rows.back() += "\x1b[2m" + state.options.hint + "\x1b[0m";
  std::size_t first = 0, count = layout.rows.size();
  if (count > height) {
    first = std::min(count - height, layout.cursor_row - std::min(layout.cursor_row, height / 2));
    count = height;
  }

  std::string out = "\r";
  if (state.drawn_row > 0) out += "\x1b[" + std::to_string(state.drawn_row) + "A";
  out += "\x1b[J";
  for (std::size_t i = 0; i < count; ++i) out += (i == 0 ? "" : "\r\n") + layout.rows[first + i];
  state.drawn_widths.clear();
  for (std::size_t i = first; i < layout.cursor_row && !at_end; ++i)
    state.drawn_widths.push_back(shown_width(layout.rows[i]));
  if (at_end) {
    out += "\r\n";
    state.drawn_row = 0;
  } else {
    state.drawn_row = layout.cursor_row - first;
    state.drawn_widths.push_back(layout.cursor_column);
    if (const std::size_t up = count - 1 - state.drawn_row; up > 0) out += "\x1b[" + std::to_string(up) + "A";
    out += "\r";
    if (layout.cursor_column > 0) out += "\x1b[" + std::to_string(layout.cursor_column) + "C";
  }
  state.terminal.write(out);
}

std::optional<std::string> edit_in_program(const std::string& text) {
  std::error_code error;
  std::string path = (std::filesystem::temp_directory_path(error) / "nibble-XXXXXX").string();
  const int fd = error ? -1 : ::mkstemp(path.data());
  if (fd < 0) return std::nullopt;
  std::optional<std::string> result;
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  const char* program = std::getenv("VISUAL");
  if (program == nullptr || *program == '\0') program = std::getenv("EDITOR");
  if (program == nullptr || *program == '\0') program = "vi";
  if (written && run_editor(program, path)) {
    std::ifstream stream(path);
    result.emplace(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    while (result->ends_with('\n')) result->pop_back();
  }
  std::filesystem::remove(path, error);
  return result;
}

}  // namespace nibble
