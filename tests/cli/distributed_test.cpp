// SPDX-License-Identifier: Apache-2.0
//
// Ranks under mpirun on this machine: the bytes of one process, and one voice.
#include <algorithm>

#include "cli/command.h"

namespace nibble {
namespace {

// As root, and with more ranks than processors, Open MPI has to be asked.
constexpr const char* kMpirun = "mpirun --allow-run-as-root --oversubscribe --bind-to none";

CommandResult in_shell(const ScratchDirectory& scratch, const std::string& command) {
  const std::string line =
      "cd '" + scratch.path().string() + "' && " + command + " >stdout.txt 2>stderr.txt </dev/null";
  const int status = std::system(line.c_str());
  CommandResult result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.out = read_text(scratch / "stdout.txt");
  result.error = read_text(scratch / "stderr.txt");
  return result;
}

std::string ranks(int count, const std::string& arguments) {
  return "-np " + std::to_string(count) + " '" NIBBLE_BINARY "' " + arguments;
}

class Distributed : public ::testing::Test {
 protected:
  void SetUp() override {
    if (NIBBLE_SANITIZED) GTEST_SKIP() << "MPI's own memory is not clean";
    ASSERT_EQ(in_shell(scratch_, "mpirun --version").code, 0) << "tools/install-packages test installs it";
    std::string text;
    for (int i = 0; i < 400; ++i) text += "Line number " + std::to_string(i * i % 977) + " of the text.\n";
    scratch_.write("text.txt", text);
  }
  ScratchDirectory scratch_;
};

TEST_F(Distributed, RanksGiveTheBytesOfOneProcess) {
  ASSERT_EQ(nibble_command(scratch_,
                           "synth --shape qwen3-30b-a3b --hidden 64 --layers 2 --heads 4 --kv-heads 2 "
                           "--head-dim 16 --experts 8 --experts-used 2 --expert-ffn 64 --vocab 300 "
                           "--context 128 -o m")
                .code,
            0);
  for (const std::string method : {"rtn", "gptq --text text.txt --samples 20 --length 32"}) {
    const std::string command = "quantize m -f q4_0 -t 1 --method " + method;
    ASSERT_EQ(nibble_command(scratch_, command + " -o one.gguf").code, 0) << method;
    for (const int count : {1, 2, 3}) {
      const CommandResult result =
          in_shell(scratch_, std::string(kMpirun) + " " + ranks(count, command + " -o many.gguf --distributed --json"));
      ASSERT_EQ(result.code, 0) << result.error;
      EXPECT_EQ(read_text(scratch_ / "many.gguf"), read_text(scratch_ / "one.gguf")) << method << " " << count;
      EXPECT_TRUE(result.json().is_object()) << "more than one rank speaks: " << result.out;
      EXPECT_FALSE(std::filesystem::exists(scratch_ / "many.gguf.work"));
    }
  }
}

TEST_F(Distributed, ARankWithOtherOptionsIsNamedOnce) {
  const std::string command = "quantize '" + kTale + "' -o out.gguf -t 1 --distributed -f ";
  const CommandResult result =
      in_shell(scratch_, std::string(kMpirun) + " " + ranks(1, command + "q4_0") + " : " + ranks(1, command + "q4_1"));
  EXPECT_NE(result.code, 0);
  const std::size_t at = result.error.find("another option: recipe; all ranks are given the same");
  ASSERT_NE(at, std::string::npos) << result.error;
  EXPECT_EQ(result.error.find("all ranks are given the same", at + 60), std::string::npos) << result.error;
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "out.gguf"));
}

TEST_F(Distributed, SaysWhatToInstall) {
  const CommandResult result =
      nibble_command(scratch_, "quantize '" + kTale + "' -f q4_0 -o out.gguf --distributed", "NIBBLE_MPI=missing.so");
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.error.find("apt-get install openmpi-bin libopenmpi-dev"), std::string::npos) << result.error;
}

TEST_F(Distributed, WrongUsesAreTold) {
  for (const char* const options : {"--part 1/2", "--verify text.txt", "--dry-run"}) {
    const CommandResult result =
        nibble_command(scratch_, "quantize '" + kTale + "' -f q4_0 -o out.gguf --distributed " + options);
    EXPECT_EQ(result.code, 2) << options << ": " << result.error;
  }
}

}  // namespace
}  // namespace nibble
