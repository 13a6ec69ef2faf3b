// SPDX-License-Identifier: Apache-2.0
#include "serve/line_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

namespace nibble::serve {

struct LineWriter::State {
  State(int where, std::size_t lines_at_most) : file(where), most(lines_at_most) {}

  const int file;
  const std::size_t most;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> lines;
  std::size_t lost = 0;
  bool ends = false, has_ended = false;

  void work() {
    for (;;) {
      std::string text;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return ends || !lines.empty() || lost > 0; });
        if (lines.empty() && lost == 0) {
          has_ended = true;
          return changed.notify_all();
        }
        if (!lines.empty()) {
          text = std::move(lines.front());
          lines.pop_front();
        } else {
          text = fmt::format(R"({{"event":"lines_lost","lines":{}}})", std::exchange(lost, 0));
        }
      }
      write_whole(text + "\n");
    }
  }

  // What cannot be written is nobody's to tell.
  void write_whole(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t count = ::write(file, text.data(), text.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(count));
    }
  }
};

LineWriter::LineWriter(int file, std::size_t most) : state_(std::make_shared<State>(file, most)) {
  std::thread([state = state_] { state->work(); }).detach();
}

LineWriter::~LineWriter() {
  std::unique_lock lock(state_->mutex);
  state_->ends = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, std::chrono::seconds(1), [&] { return state_->has_ended; });
}

void LineWriter::add(std::string line) {
  const std::lock_guard lock(state_->mutex);
  if (state_->lines.size() >= state_->most)
    ++state_->lost;
  else
    state_->lines.push_back(std::move(line));
  state_->changed.notify_all();
}

}  // namespace nibble::serve
