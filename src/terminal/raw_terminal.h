// SPDX-License-Identifier: Apache-2.0
//
// A terminal that hands over every key as it is pressed, for as long as this lives; afterwards it is as it was. One
// thread, one at a time.
#pragma once

#include <signal.h>
#include <termios.h>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace nibble {

struct TerminalSize {
  std::size_t rows = 24, columns = 80;
  bool operator==(const TerminalSize&) const = default;
};

// Of the terminal behind a file descriptor; 80 x 24 where it does not say.
TerminalSize terminal_size(int fd);

class RawTerminal {
 public:
  // in and out: of the same terminal. Error(io): in is none.
  RawTerminal(int in, int out);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  enum class Read { bytes, nothing, closed };
  // Waits at most so many milliseconds; appends what came. nothing: also when the terminal has another size now.
  Read read(std::string& bytes, int milliseconds);
  void write(std::string_view text);
  TerminalSize size() const { return terminal_size(out_); }
  // Gives the terminal back while something else is done, and takes it again.
  void lend(const std::function<void()>& act);

 private:
  void enter();
  void leave();
  int in_, out_;
  termios before_{};
  struct sigaction resize_before_{};
};

}  // namespace nibble
