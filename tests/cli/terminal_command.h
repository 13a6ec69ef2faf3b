// SPDX-License-Identifier: Apache-2.0
//
// Runs the command on a terminal of the test's own, as a person would: types, and waits for what is shown.
//
//   TerminalCommand chat(scratch, {"chat", "model"});
//   chat.expect(">>> "); chat.type("hello\r"); chat.expect("hello");
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/scratch_directory.h"

namespace nibble {

class TerminalCommand {
 public:
  TerminalCommand(const ScratchDirectory& scratch, const std::vector<std::string>& arguments) {
    const winsize size{30, 100, 0, 0};
    child_ = forkpty(&master_, nullptr, nullptr, &size);
    if (child_ != 0) return;
    if (chdir(scratch.path().c_str()) != 0) _exit(126);
    setenv("TERM", "xterm", 1);
    setenv("NO_COLOR", "1", 1);
    setenv("XDG_STATE_HOME", scratch.path().c_str(), 1);
    std::vector<char*> words = {const_cast<char*>("nibble")};
    for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    execv(NIBBLE_BINARY, words.data());
    _exit(127);
  }
  ~TerminalCommand() {
    if (child_ > 0 && !ended_) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    if (master_ >= 0) close(master_);
  }
  TerminalCommand(const TerminalCommand&) = delete;
  TerminalCommand& operator=(const TerminalCommand&) = delete;

  bool works() const { return child_ > 0; }
  void type(const std::string& keys) const {
    EXPECT_EQ(::write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  void interrupt() const { kill(child_, SIGINT); }
  // Waits until the text is shown, behind what was waited for before; gives what stood between the two.
  std::string expect(const std::string& text) {
    std::size_t found = std::string::npos;
    while ((found = shown_.find(text)) == std::string::npos && read()) continue;
    EXPECT_NE(found, std::string::npos) << "not shown: " << text << "\nbut: " << shown_;
    const std::string before = shown_.substr(0, found);
    shown_.erase(0, found == std::string::npos ? shown_.size() : found + text.size());
    return before;
  }
  // Waits for the first of two texts; true: it was the one.
  bool expect_either(const std::string& one, const std::string& other) {
    while (shown_.find(one) == std::string::npos && shown_.find(other) == std::string::npos && read()) continue;
    const bool is_one = shown_.find(one) < shown_.find(other);
    expect(is_one ? one : other);
    return is_one;
  }
  // Reads to the end; the exit code, or -1.
  int wait() {
    while (read()) continue;
    int status = 0;
    if (waitpid(child_, &status, WNOHANG) == 0) {
      usleep(200'000);  // it has closed its terminal, and ends
      if (waitpid(child_, &status, WNOHANG) == 0) {
        ADD_FAILURE() << "does not end; shown last: " << testing::PrintToString(shown_);
        kill(child_, SIGKILL);
        waitpid(child_, &status, 0);
      }
    }
    ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  bool read() {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
    pollfd ready{master_, POLLIN, 0};
    if (left.count() <= 0 || poll(&ready, 1, static_cast<int>(left.count())) <= 0) return false;
    char buffer[4096];
    const ssize_t count = ::read(master_, buffer, sizeof buffer);
    if (count <= 0) return false;
    shown_.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  int master_ = -1;
  pid_t child_ = -1;
  bool ended_ = false;
  std::string shown_;
  const std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::now() + std::chrono::minutes(1);
};

}  // namespace nibble
