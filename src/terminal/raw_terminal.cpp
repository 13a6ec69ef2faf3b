// SPDX-License-Identifier: Apache-2.0
#include "terminal/raw_terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "nibble/error.h"

namespace nibble {

TerminalSize terminal_size(int fd) {
  winsize size{};
  TerminalSize told;
  if (ioctl(fd, TIOCGWINSZ, &size) != 0) return told;
  if (size.ws_row != 0) told.rows = size.ws_row;
  if (size.ws_col != 0) told.columns = size.ws_col;
  return told;
}

RawTerminal::RawTerminal(int in, int out) : in_(in), out_(out) {
  if (tcgetattr(in_, &before_) != 0)
    throw Error(ErrorKind::io, std::string("cannot read keys from the terminal: ") + std::strerror(errno));
  // A signal that is ignored, as this one is usually, ends no waiting; what it says is asked of the terminal.
  struct sigaction resize{};
  resize.sa_handler = [](int) {};
  sigaction(SIGWINCH, &resize, &resize_before_);
  enter();
}

RawTerminal::~RawTerminal() {
  leave();
  sigaction(SIGWINCH, &resize_before_, nullptr);
}

// Output is left as it is: a line end still begins a new line. Ctrl-C, Ctrl-Z and their like come as keys.
void RawTerminal::enter() {
  termios raw = before_;
  raw.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
  raw.c_cflag |= CS8;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  tcsetattr(in_, TCSADRAIN, &raw);
  write("\x1b[?2004h");  // bracketed paste
}

void RawTerminal::leave() {
  write("\x1b[?2004l");
  tcsetattr(in_, TCSADRAIN, &before_);
}

RawTerminal::Read RawTerminal::read(std::string& bytes, int milliseconds) {
  pollfd waiting{in_, POLLIN, 0};
  const int ready = poll(&waiting, 1, milliseconds);
  if (ready < 0) return errno == EINTR ? Read::nothing : Read::closed;
  if (ready == 0) return Read::nothing;
  std::array<char, 4096> buffer;
  const ssize_t count = ::read(in_, buffer.data(), buffer.size());
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return Read::nothing;
  if (count <= 0) return Read::closed;
  bytes.append(buffer.data(), static_cast<std::size_t>(count));
  return Read::bytes;
}

void RawTerminal::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(out_, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      pollfd waiting{out_, POLLOUT, 0};
      poll(&waiting, 1, 100);
      continue;
    }
    if (count <= 0) return;  // the terminal is gone; reading says so
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

void RawTerminal::lend(const std::function<void()>& act) {
  leave();
  act();
  enter();
}

}  // namespace nibble
