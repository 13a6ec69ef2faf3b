// SPDX-License-Identifier: Apache-2.0
#include "terminal/line_editor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "nibble/error.h"

namespace nibble {
namespace {

// A terminal of the test's own: keys are typed at one end, the editor works at the other.
class Keyboard {
 public:
  Keyboard() : master_(posix_openpt(O_RDWR | O_NOCTTY)) {
    if (master_ < 0 || grantpt(master_) != 0 || unlockpt(master_) != 0) return;
    slave_ = open(ptsname(master_), O_RDWR | O_NOCTTY);
    const winsize size{10, 20, 0, 0};
    ioctl(slave_, TIOCSWINSZ, &size);
  }
  ~Keyboard() {
    if (slave_ >= 0) close(slave_);
    if (master_ >= 0) close(master_);
  }
  Keyboard(const Keyboard&) = delete;
  Keyboard& operator=(const Keyboard&) = delete;

  bool works() const { return slave_ >= 0; }
  int terminal() const { return slave_; }

  // What the editor returns when these keys are typed, all at once, after it has begun.
  WrittenText type(const std::string& keys, const EditorOptions& options, const InputHistory& history = no_history()) {
    shown_.clear();
    std::atomic<bool> done = false;
    std::thread hands([&] {
      bool typed = false;
      while (!done) {
        pollfd ready{master_, POLLIN, 0};
        if (poll(&ready, 1, 10) <= 0) continue;
        char buffer[4096];
        const ssize_t count = ::read(master_, buffer, sizeof buffer);
        if (count > 0) shown_.append(buffer, static_cast<std::size_t>(count));
        if (std::exchange(typed, true)) continue;
        EXPECT_EQ(::write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
      }
    });
    LineEditor editor(slave_, slave_, history);
    const WrittenText written = editor.read(options);
    done = true;
    hands.join();
    pollfd ready{master_, POLLIN, 0};
    for (char buffer[4096]; poll(&ready, 1, 0) > 0;) {
      const ssize_t count = ::read(master_, buffer, sizeof buffer);
      if (count <= 0) break;
      shown_.append(buffer, static_cast<std::size_t>(count));
    }
    return written;
  }
  void press(const std::string& keys) const {
    EXPECT_EQ(::write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  const std::string& shown() const { return shown_; }
  int own_end() const { return master_; }

  static const InputHistory& no_history() {
    static const InputHistory none;
    return none;
  }

 private:
  int master_ = -1, slave_ = -1;
  std::string shown_;
};

class Editor : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(keyboard.works()); }
  std::string entered(const std::string& keys, const EditorOptions& options = {},
                      const InputHistory& history = Keyboard::no_history()) {
    const WrittenText written = keyboard.type(keys, options, history);
    EXPECT_EQ(written.end, WrittenText::End::entered);
    return written.text;
  }
  Keyboard keyboard;
};

TEST_F(Editor, ReadsALine) { EXPECT_EQ(entered("hello\r"), "hello"); }

TEST_F(Editor, EditsIt) {
  EXPECT_EQ(entered("wrold\x1b[D\x1b[D\x1b[D\x7f\x1b[C\x1b[C\x1b[D"
                    "r\r"),
            "world");
  EXPECT_EQ(entered("one two\x17three\x01zero \r"), "zero one three");
}

// The terminal becomes narrower while a text is being written: it is broken anew before the next key.
TEST_F(Editor, FollowsTheWidthOfTheTerminal) {
  std::string shown;
  const auto read_until = [&](const std::string& wanted) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (shown.find(wanted) == std::string::npos && std::chrono::steady_clock::now() < deadline) {
      pollfd ready{keyboard.own_end(), POLLIN, 0};
      char buffer[4096];
      if (poll(&ready, 1, 20) <= 0) continue;
      if (const ssize_t count = ::read(keyboard.own_end(), buffer, sizeof buffer); count > 0)
        shown.append(buffer, static_cast<std::size_t>(count));
    }
    EXPECT_NE(shown.find(wanted), std::string::npos) << testing::PrintToString(shown);
  };
  std::thread hands([&] {
    read_until("> ");
    keyboard.press("abcdefghijklmnop");  // a row of 18 columns
    read_until("> abcdefghijklmnop");
    shown.clear();
    const winsize narrow{10, 8, 0, 0};
    ioctl(keyboard.own_end(), TIOCSWINSZ, &narrow);
    // The old row has become three, in the last of which the cursor is; the new one begins in the first of them.
    read_until("\r\x1b[2A\x1b[J> abcdef\r\r\nghijklmn\r\r\nop");
    keyboard.press("\r");
    read_until("op\r\r\n");
  });
  LineEditor editor(keyboard.terminal(), keyboard.terminal(), Keyboard::no_history());
  const WrittenText written = editor.read({});
  hands.join();
  EXPECT_EQ(written.text, "abcdefghijklmnop");
}

TEST_F(Editor, APasteOfLinesIsOneText) { EXPECT_EQ(entered("\x1b[200~a\rb\x1b[201~c\r"), "a\nbc"); }

TEST_F(Editor, EnterGoesOnWhereMoreIsWanted) {
  EditorOptions options;
  options.wants_more = [](std::string_view text) { return text.starts_with("\"\"\"") && !text.ends_with("end"); };
  EXPECT_EQ(entered("\"\"\"a\rend\r", options), "\"\"\"a\nend");
}

TEST_F(Editor, RecallsWhatWasWrittenBefore) {
  InputHistory history;
  for (const char* const text : {"first", "second\nline", "third"}) history.add(text);
  EXPECT_EQ(entered("\x1b[A\x1b[A\x1b[A\x1b[A\r", {}, history), "first");
  EXPECT_EQ(entered("own\x1b[A\x1b[B\r", {}, history), "own");
  EXPECT_EQ(entered("\x12"
                    "ir\r",
                    {}, history),
            "third");
  EXPECT_EQ(entered("\x12"
                    "ir\x12\x1b[C!\r",
                    {}, history),
            "first!");
  EXPECT_EQ(entered("kept\x12"
                    "ir\x03 on\r",
                    {}, history),
            "kept on");
}

TEST_F(Editor, CompletesWhatCanBeKnown) {
  EditorOptions options;
  options.completions = [](std::string_view text) {
    std::vector<std::string> found;
    for (const char* const one : {"/clear", "/save ", "/set "})
      if (std::string_view(one).starts_with(text)) found.emplace_back(one);
    return found;
  };
  EXPECT_EQ(entered("/c\t\r", options), "/clear");
  EXPECT_EQ(entered("/s\ta\tx\r", options), "/save x");
  EXPECT_NE(keyboard.shown().find("/save   /set"), std::string::npos);
}

TEST_F(Editor, WhatIsTypedBehindTheEndBelongsToTheNextText) {
  LineEditor editor(keyboard.terminal(), keyboard.terminal(), Keyboard::no_history());
  keyboard.press("one\rtwo\r");  // before the editor begins
  EXPECT_EQ(editor.read({}).text, "one");
  EXPECT_EQ(editor.read({}).text, "two");
}

TEST_F(Editor, SaysHowItEnded) {
  EXPECT_EQ(keyboard.type("text\x03", {}).end, WrittenText::End::interrupted);
  EXPECT_EQ(keyboard.type("\x04", {}).end, WrittenText::End::closed);
  EditorOptions options;
  options.should_stop = [] { return true; };
  EXPECT_EQ(keyboard.type("", options).end, WrittenText::End::stopped);
}

TEST_F(Editor, LeavesTheTerminalAsItWas) {
  termios before{}, after{};
  ASSERT_EQ(tcgetattr(keyboard.terminal(), &before), 0);
  entered("x\r");
  ASSERT_EQ(tcgetattr(keyboard.terminal(), &after), 0);
  EXPECT_EQ(before.c_lflag, after.c_lflag);
  EXPECT_EQ(before.c_iflag, after.c_iflag);
}

TEST_F(Editor, TheHintIsShownOnlyWhereNothingIsWritten) {
  EditorOptions options;
  options.hint = "say it";
  entered("x\r", options);
  ASSERT_NE(keyboard.shown().find("say it"), std::string::npos);
  EXPECT_EQ(keyboard.shown().find("say it"), keyboard.shown().rfind("say it"));
}

TEST_F(Editor, AnEditorOfOnesOwnMayChangeIt) {
  setenv("VISUAL", "sed -i s/cat/dog/", 1);
  EXPECT_EQ(entered("a cat\x07\r"), "a dog");
  setenv("VISUAL", "false", 1);
  EXPECT_EQ(entered("a cat\x07\r"), "a cat");
}

TEST_F(Editor, ATextHigherThanTheTerminalKeepsItsCursorInSight) {
  std::string keys;
  for (int i = 0; i < 15; ++i) keys += std::to_string(i) + "\x1b\r";
  EXPECT_EQ(entered(keys + "end\r").substr(0, 4), "0\n1\n");
}

TEST(NoTerminal, IsSaid) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  InputHistory history;
  LineEditor editor(ends[0], ends[1], history);
  EXPECT_THROW(editor.read({}), Error);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace nibble
