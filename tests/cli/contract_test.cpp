// SPDX-License-Identifier: Apache-2.0
//
// The exit codes of docs/scripting.md: inputs that do not serve are 1, in every verb; only a wrong command is 2. Also
// what is said of them.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>

#include "cli/command.h"
#include "cli/option_hints.h"

namespace nibble {
namespace {

class Contract : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(
        nibble_command(scratch_, "synth --hidden 64 --ffn 96 --layers 1 --heads 4 --vocab 300 --context 64 -o m").code,
        0);
    ASSERT_EQ(
        nibble_command(scratch_, "synth --hidden 32 --ffn 96 --layers 1 --heads 4 --vocab 300 --context 64 -o narrow")
            .code,
        0);
    scratch_.write("short.txt", "Too short.");
    std::string text;
    for (int i = 0; i < 600; ++i) text += "Line number " + std::to_string(i) + ".\n";
    scratch_.write("text.txt", text);
  }
  CommandResult run(const std::string& arguments, int code) {
    CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    return result;
  }
  ScratchDirectory scratch_;
};

TEST_F(Contract, WhatAKilledRunHasLeftIsTidiedUp) {
  scratch_.write("x.gguf.partial-99999999-0", "of a process that is no more");
  scratch_.write("x.gguf.partial-mine", "of nobody");
  run("quantize m -f q8_0 -o x.gguf", 0);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "x.gguf.partial-99999999-0"));
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "x.gguf.partial-mine"));
}

TEST_F(Contract, AnOutputThatGrowsBeyondALimitOfItsSizeIsAFailedWrite) {
  const std::string line = "cd '" + scratch_.path().string() +
                           "' && ulimit -f 20 && '" NIBBLE_BINARY "' quantize m -f q8_0 -o x.gguf 2>error.txt";
  const int status = std::system(line.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_NE(read_text(scratch_ / "error.txt").find("x.gguf: cannot write"), std::string::npos);
  for (const auto& entry : std::filesystem::directory_iterator(scratch_.path()))
    EXPECT_FALSE(entry.path().filename().string().starts_with("x.gguf")) << entry.path();
}

TEST_F(Contract, AReaderThatGoesAwayEndsTheCommandQuietly) {
  // The pipe's only reader has gone before anything is written.
  const std::string line = "cd '" + scratch_.path().string() +
                           "' && { sleep 0.3; '" NIBBLE_BINARY "' formats 2>error.txt; echo $? >code.txt; } | true";
  ASSERT_EQ(std::system(line.c_str()), 0);
  EXPECT_EQ(read_text(scratch_ / "code.txt"), "141\n");
  EXPECT_EQ(std::filesystem::file_size(scratch_ / "error.txt"), 0u);
}

TEST_F(Contract, ACodedCacheIsJudgedAgainstAnOriginalWithoutOne) {
  run("quantize m -f q8_0 -o q.gguf", 0);
  const auto plain = run("eval q.gguf --against m --text text.txt --windows 3 --kv q8_0 --json", 0).json();
  const auto spelled =
      run("eval q.gguf --against m --text text.txt --windows 3 --kv q8_0 --against-kv f16 --json", 0).json();
  const auto both =
      run("eval q.gguf --against m --text text.txt --windows 3 --kv q8_0 --against-kv q8_0 --json", 0).json();
  EXPECT_EQ(plain["candidates"], spelled["candidates"]);
  EXPECT_NE(plain["candidates"], both["candidates"]);
}

TEST_F(Contract, WhatIsNoTextIsNamedWhereItIsShortToo) {
  scratch_.write("pointer.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n");
  scratch_.write("page.txt", "<!DOCTYPE html>\n<html><body>404</body></html>\n");
  EXPECT_NE(run("eval m --text pointer.txt", 1).error.find("a Git LFS pointer"), std::string::npos);
  EXPECT_NE(run("eval m --text page.txt", 1).error.find("a web page"), std::string::npos);
  EXPECT_NE(run("run m --prompt-file page.txt", 1).error.find("a web page"), std::string::npos);
}

TEST_F(Contract, WindowsThatAreAskedForAreNotCut) {
  EXPECT_NE(
      run("calibrate m --text text.txt --length 65 -o x.stats", 2).error.find("context of 64 tokens: --length 65"),
      std::string::npos);
  EXPECT_NE(run("quantize m -f q8_0 --method gptq --text text.txt --length 65 -o x.gguf", 2).error.find("--length 65"),
            std::string::npos);
  run("calibrate m --text text.txt --samples 2 -o x.stats", 0);  // whose default is longer than this model's context
}

TEST_F(Contract, ATextShorterThanAWindow) {
  run("eval m --text short.txt", 1);
  run("eval m --against narrow --text short.txt", 1);
  run("compare m --text short.txt -f q8_0", 1);
  run("calibrate m --text short.txt -o x.stats", 1);
  run("quantize m -f q4_0 --method gptq --text short.txt -o x.gguf", 1);
  run("quantize m -f q4_0 --verify short.txt -o x.gguf", 1);
  run("quantize m --bpw 5 --text short.txt -o x.gguf", 1);
  run("quantize m --max-kl 0.1 --text short.txt -o x.gguf", 1);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "x.gguf"));
}

TEST_F(Contract, InputsThatDoNotServe) {
  run("calibrate narrow --text text.txt --length 16 -o narrow.stats", 0);
  run("calibrate narrow --text text.txt --length 16 -o narrow.gguf", 0);
  run("quantize m -f q4_0 --method imatrix --stats narrow.stats -o x.gguf", 1);
  run("quantize m -f q4_0 --method imatrix --imatrix narrow.gguf -o x.gguf", 1);
  run("quantize m -f q4_0 --imatrix narrow.gguf -o x.gguf", 1);  // read although no method is named
  run("quantize m -f q8_0 -o q.gguf", 0);
  const CommandResult again = run("quantize q.gguf -f q4_0 -o x.gguf", 1);
  EXPECT_NE(again.error.find("see --allow-requantize"), std::string::npos) << again.error;
  scratch_.write("recipe.json", "{\"rules\": [{\"tensors\": \"*\", \"format\": \"nosuch\"}]}");
  run("quantize m --recipe recipe.json -o x.gguf", 1);
  run("inspect m/config.json", 1);
  std::string prompt;
  for (int i = 0; i < 100; ++i) prompt += "Tom ";
  run("run m -p '" + prompt + "'", 1);
}

TEST_F(Contract, SignalsAreAnInterruption) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    const std::filesystem::path pipe = scratch_ / "pipe", output = scratch_ / "x.stats";
    std::filesystem::remove(pipe);
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    const pid_t child = fork();
    if (child == 0) {
      ::signal(number, SIG_DFL);  // whoever runs the tests may have it ignored
      if (freopen((scratch_ / "error.txt").c_str(), "w", stderr) == nullptr) _exit(99);
      execl(NIBBLE_BINARY, "nibble", "calibrate", (scratch_ / "m").c_str(), "--length", "16", "--text", pipe.c_str(),
            "-o", output.c_str(), nullptr);
      _exit(99);
    }
    // The child opens the pipe for its text when it has begun to listen, and waits: so the signal is there before the
    // work.
    const int writer = open(pipe.c_str(), O_WRONLY);
    kill(child, number);
    const std::string text = read_text(scratch_ / "text.txt");
    ASSERT_EQ(write(writer, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    close(writer);
    int status = 0;
    waitpid(child, &status, 0);
    const std::string error = read_text(scratch_ / "error.txt");
    EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 130) << number << error;
    EXPECT_NE(error.find("interrupted"), std::string::npos) << number << error;
    EXPECT_EQ(error.find("caller"), std::string::npos) << number << error;
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "x.stats")) << number;
  }
}

// Messages of the library name settings; here each has its option.
TEST(OptionHints, KnowEverySettingThatAnErrorNames) {
  std::size_t named = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(NIBBLE_SOURCE_DIR "/src")) {
    const std::string path = entry.path().string();
    if (entry.path().extension() != ".cpp" || path.find("/src/cli/") != std::string::npos) continue;
    const std::string source = read_text(entry.path());
    for (std::size_t at = source.find("throw Error("); at != std::string::npos;
         at = source.find("throw Error(", at + 1)) {
      const std::string statement = source.substr(at, source.find(";\n", at) - at);
      for (std::size_t option = statement.find("--"); option != std::string::npos;
           option = statement.find("--", option + 2))
        EXPECT_FALSE(option + 2 < statement.size() && std::islower(static_cast<unsigned char>(statement[option + 2])))
            << path << ": " << statement;
      const std::size_t last = statement.rfind(", \""), broken = statement.rfind(",\n");
      const std::size_t quote =
          std::max(last == std::string::npos ? 0 : last, broken == std::string::npos ? 0 : broken);
      const std::size_t open = statement.find('"', quote);
      if (!statement.ends_with("\")") || open == std::string::npos) continue;
      const std::string word = statement.substr(open + 1, statement.size() - open - 3);
      if (word.empty() || word.find_first_not_of("abcdefghijklmnopqrstuvwxyz_.") != std::string::npos) continue;
      EXPECT_FALSE(cli::option_for(word).empty()) << path << ": " << word;
      ++named;
    }
  }
  EXPECT_GT(named, 8u);
}

TEST(OptionHints, NameWhatTheVerbHas) {
  const auto there = [](std::string_view hint, std::set<std::string_view> words) {
    return cli::options_there(hint, [&](std::string_view word) { return words.contains(word); });
  };
  EXPECT_EQ(there("--samples, --data", {"--samples"}), "--samples");
  EXPECT_EQ(there("--samples, --data", {"--data"}), "--data");
  EXPECT_EQ(there("--samples, --data", {}), "");
  EXPECT_EQ(there("--dtype f32, or --lossy", {"--lossy"}), "--lossy");
  EXPECT_EQ(there("--dtype f32, or --lossy", {"--lossy", "--dtype"}), "--dtype f32, or --lossy");
  EXPECT_EQ(there("--text FILE, --stats FILE or --imatrix FILE", {"--text", "--imatrix"}),
            "--text FILE, --imatrix FILE");
  EXPECT_EQ(there("calibrate --full, or --text FILE", {"calibrate"}), "calibrate --full");
  EXPECT_EQ(there("a longer --text, or --verify FILE", {"--text"}), "a longer --text");
  EXPECT_EQ(there("--strict, without which this is a note", {"--strict"}), "--strict, without which this is a note");
  EXPECT_EQ(there("--strict, without which this is a note", {}), "");
  EXPECT_EQ(there("-f q8_0,q4_k_m", {"-f"}), "-f q8_0,q4_k_m");
  // Each of the list's hints has an option at least.
  for (const cli::OptionHint& hint : cli::option_hints())
    EXPECT_EQ(cli::options_there(hint.option, [](std::string_view) { return true; }), hint.option);
}

// Joules by a sensor that always says 100 W: what a run takes is its time, and nothing above what idleness takes.
TEST_F(Contract, EnergyIsWhatTheMachineTellsOrNothing) {
  CommandResult result =
      nibble_command(scratch_, "bench m -p 8 -n 0 -r 1 -t 1 --energy --json", "NIBBLE_ENERGY_ROOT=/nowhere");
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_TRUE(result.json()["energy_source"].is_null());
  EXPECT_EQ(result.json()["energy_obstacles"].size(), 4u);
  EXPECT_FALSE(result.json()["results"][0].contains("joules_per_token"));
  EXPECT_NE(result.error.find("battery: "), std::string::npos) << result.error;
  const auto sensor = scratch_ / "sys/class/hwmon/hwmon0";
  std::filesystem::create_directories(sensor);
  std::ofstream(sensor / "name") << "power_meter\n";
  std::ofstream(sensor / "power1_average") << "100000000\n";
  result = nibble_command(scratch_, "bench m -p 8 -n 0 -r 1 -t 1 --energy --json", "NIBBLE_ENERGY_ROOT=.");
  EXPECT_EQ(result.code, 0) << result.error;
  const auto told = result.json(), test = told["results"][0];
  EXPECT_EQ(told["energy_source"], "hwmon");
  EXPECT_EQ(told["energy_domains"].at(0), "machine");
  EXPECT_LE(told["energy_idle_watts"], 100.0001);
  EXPECT_GT(told["energy_idle_watts"], 50);
  EXPECT_GE(test["energy_seconds"], 2);
  const double joules = test["energy_joules"], seconds = test["energy_seconds"];
  EXPECT_GT(joules, 50 * seconds);
  const double tokens = 8.0 * static_cast<double>(test["samples"].size());
  EXPECT_NEAR(test["joules_per_token"].get<double>() * tokens, joules, 1e-9 * joules);
  const double idle = told["energy_idle_watts"].get<double>() * seconds;
  EXPECT_NEAR(test["joules_per_token_above_idle"].get<double>() * tokens, joules - idle, 1e-9 * joules);
}

}  // namespace
}  // namespace nibble
