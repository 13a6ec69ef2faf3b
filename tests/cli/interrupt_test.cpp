// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C in the middle of the work: the figures of what has been read, with what they cover, and exit code 130.
//
// Nothing here waits for a time. The child draws its progress bar on a pseudo-terminal of the test's; the signal is
// sent when the bar has been drawn twice while texts or questions are read, that is after some of the work. Nor can the
// work be over before: it takes minutes, and as the terminal holds a few kilobytes, a bar that nobody reads stops it.
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include "cli/command.h"

extern char** environ;

namespace nibble {
namespace {

struct Interrupted {
  int code = -1;
  std::string out, terminal;
  nlohmann::json json() const { return nlohmann::json::parse(out, nullptr, false); }
};

std::size_t times_in(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class Interrupts : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 20; ++i) texts_.push_back(kTale + "/heldout.txt");
  }

  // Runs the command and sends SIGINT when the stage "evaluate" has been drawn twice.
  Interrupted interrupt(std::vector<std::string> arguments) {
    Interrupted result;
    int master = -1, slave = -1;
    if (openpty(&master, &slave, nullptr, nullptr, nullptr) != 0) {
      ADD_FAILURE() << "no pseudo-terminal";
      return result;
    }
    arguments.insert(arguments.begin(), NIBBLE_BINARY);
    std::vector<char*> words;
    for (std::string& word : arguments) words.push_back(word.data());
    words.push_back(nullptr);
    const std::string out = (scratch_ / "out.txt").string();
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&files, slave, 2);
    posix_spawn_file_actions_addclose(&files, master);
    posix_spawn_file_actions_addclose(&files, slave);
    pid_t child = -1;
    posix_spawnattr_t attributes;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);  // whoever runs the tests may have it ignored, which would be kept
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    EXPECT_EQ(posix_spawn(&child, NIBBLE_BINARY, &files, &attributes, words.data(), environ), 0);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    close(slave);
    bool sent = false;
    char buffer[4096];
    // Reading fails when the child, which holds the other end, is gone.
    for (ssize_t count = 0; (count = read(master, buffer, sizeof buffer)) > 0;) {
      result.terminal.append(buffer, static_cast<std::size_t>(count));
      if (!sent && times_in(result.terminal, "\033[Kevaluate ") >= 2) {
        kill(child, SIGINT);
        sent = true;
      }
    }
    close(master);
    int status = 0;
    waitpid(child, &status, 0);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    result.out = read_text(out);
    EXPECT_TRUE(sent) << result.terminal;
    EXPECT_EQ(result.code, 130) << result.terminal;
    return result;
  }

  static void expect_partial(const nlohmann::json& json, const std::string& done, const std::string& planned) {
    ASSERT_FALSE(json.is_discarded());
    EXPECT_EQ(json["partial"], true);
    EXPECT_GT(json[done].get<std::uint64_t>(), 0u);
    EXPECT_LT(json[done].get<std::uint64_t>(), json[planned].get<std::uint64_t>());
  }

  std::vector<std::string> with_texts(std::vector<std::string> arguments) const {
    arguments.push_back("--text");
    arguments.insert(arguments.end(), texts_.begin(), texts_.end());
    return arguments;
  }

  ScratchDirectory scratch_;
  std::vector<std::string> texts_;
};

TEST_F(Interrupts, OfEval) {
  const Interrupted result = interrupt(with_texts({"eval", kTale, "--json", "-t", "1"}));
  expect_partial(result.json(), "windows", "windows_planned");
  EXPECT_GT(result.json()["perplexity"].get<double>(), 1);
  EXPECT_NE(
      result.terminal.find("nibble: error: interrupted: stopped early; the figures cover what was read until then"),
      std::string::npos)
      << result.terminal;
}

TEST_F(Interrupts, OfEvalAgainst) {
  const Interrupted result = interrupt(with_texts({"eval", kTale, "--against", kTale, "-t", "1"}));
  EXPECT_NE(result.out.find("Stopped early: these figures cover "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("KL"), std::string::npos) << result.out;
}

TEST_F(Interrupts, OfCompare) {
  const Interrupted result = interrupt(with_texts({"compare", kTale, "--json", "-f", "q8_0,int4:g32", "-p", "8", "-n",
                                                   "2", "-r", "1", "-t", "1", "--scratch", scratch_.path().string()}));
  expect_partial(result.json(), "windows", "windows_planned");
  ASSERT_EQ(result.json()["formats"].size(), 2u);
  EXPECT_TRUE(result.json()["left_out"].empty());
  EXPECT_EQ(scratch_.num_entries(), 1u);  // standard output; no model is left behind
}

TEST_F(Interrupts, OfATask) {
  std::string questions;
  for (int i = 0; i < 20000; ++i) {
    std::string text = "Line " + std::to_string(i) + ":";
    for (int k = 0; k < 30; ++k) text += " Tom and his dog";
    questions += "{\"text\": \"" + text + " ran\"}\n";
  }
  const std::string file = scratch_.write("lambada.jsonl", questions).string();
  const Interrupted json =
      interrupt({"eval", kTale, "--against", kTale, "--json", "-t", "1", "--task", "lambada", file});
  expect_partial(json.json(), "questions", "planned");
  EXPECT_EQ(json.json()["models"].size(), 2u);
  const Interrupted text = interrupt({"eval", kTale, "-t", "1", "--task", "lambada", file});
  EXPECT_NE(text.out.find("Stopped early: these figures cover "), std::string::npos) << text.out;
  EXPECT_NE(text.out.find(" of 20,000 questions"), std::string::npos) << text.out;
}

}  // namespace
}  // namespace nibble
