// SPDX-License-Identifier: Apache-2.0
//
// Models that somebody writes to while they are read.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <functional>
#include <thread>

#include "cli/command.h"
#include "cli/traced_command.h"

namespace nibble {
namespace {

// The end of a pipe that is written to, once somebody reads it; -1 when the reader has `ended` without.
int open_once_read(const std::filesystem::path& pipe, const std::atomic<bool>& ended) {
  while (true) {
    const bool last = ended;
    const int descriptor = open(pipe.c_str(), O_WRONLY | O_NONBLOCK);
    if (descriptor >= 0 || errno != ENXIO || last) return descriptor;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

class LostSource : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(
        nibble_command(
            scratch_,
            "synth --hidden 256 --ffn 512 --layers 4 --heads 4 --kv-heads 2 --vocab 300 --context 128 --tied -o m")
            .code,
        0);
    ASSERT_EQ(mkfifo((scratch_ / "text").c_str(), 0600), 0);
  }
  // A command that opens the model and then waits for its text: `change` comes between the two.
  CommandResult run_while(const std::string& arguments, const std::function<void()>& change) {
    CommandResult result;
    std::atomic<bool> ended = false;
    std::thread command([&] {
      result = nibble_command(scratch_, arguments);
      ended = true;
    });
    const int text = open_once_read(scratch_ / "text", ended);
    EXPECT_GE(text, 0) << "the command ended before it read its text: " << arguments;
    if (text >= 0) {
      change();
      std::string lines;
      for (int i = 0; i < 200; ++i) lines += "Line number " + std::to_string(i) + " of the text.\n";
      EXPECT_EQ(write(text, lines.data(), lines.size()), static_cast<ssize_t>(lines.size()));  // less than a pipe holds
      close(text);
    }
    command.join();
    return result;
  }
  std::filesystem::path weights() const { return scratch_ / "m/model.safetensors"; }
  ScratchDirectory scratch_;
};

TEST_F(LostSource, IsNamedWhenItGetsShorter) {
  const std::size_t entries = scratch_.num_entries();
  const CommandResult result = run_while("calibrate m --text text --samples 4 --length 32 -o s.safetensors -t 1", [&] {
    std::filesystem::resize_file(weights(), std::filesystem::file_size(weights()) / 8);
  });
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.error.find(weights().string() + ": became shorter while it was read"), std::string::npos)
      << result.error;
  EXPECT_EQ(scratch_.num_entries(), entries);
}

TEST_F(LostSource, IsNamedWhenItIsWrittenOver) {
  const std::size_t entries = scratch_.num_entries();
  for (const char* arguments : {"quantize m -f q4_0 --method imatrix --text text --samples 4 --length 32 -o out.gguf",
                                "quantize m -f int8:row+a8:static --text text --samples 4 --length 32 -o out",
                                "calibrate m --text text --samples 4 --length 32 -o out.stats"}) {
    const CommandResult result = run_while(arguments, [&] {
      std::fstream file(weights(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(-100, std::ios::end);
      file << "other";
    });
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_NE(result.error.find("model.safetensors: changed while it was read"), std::string::npos)
        << arguments << ": " << result.error;
    EXPECT_EQ(scratch_.num_entries(), entries) << arguments;
  }
}

TEST_F(LostSource, ReplacingItByAnotherFileIsNoChange) {
  const CommandResult result =
      run_while("quantize m -f q4_0 --method imatrix --text text --samples 4 --length 32 -o out.gguf", [&] {
        std::filesystem::copy_file(weights(), scratch_ / "m/new");
        std::filesystem::rename(scratch_ / "m/new", weights());
      });
  EXPECT_EQ(result.code, 0) << result.error;
}

TEST_F(LostSource, NothingOfAnOutputStaysBehind) {
  const std::size_t entries = scratch_.num_entries();
  for (const char* output : {"out.gguf", "out"}) {
    const std::vector<std::string> arguments = {"quantize", "m", "-f", "q8_0", "-t", "1", "-o", output};
    const TracedRun whole = run_traced(scratch_.path(), NIBBLE_BINARY, arguments, {});
    ASSERT_TRUE(whole.started) << "the system does not let a process trace its child";
    ASSERT_EQ(whole.code, 0);
    std::filesystem::remove_all(scratch_ / output);
    for (const std::uint64_t part : {3, 2}) {
      const TracedRun lost = run_traced(scratch_.path(), NIBBLE_BINARY, arguments,
                                        {.kill_before = whole.changes / part, .signal = SIGBUS});
      EXPECT_EQ(lost.code, 1) << output;
      EXPECT_EQ(scratch_.num_entries(), entries)
          << output << ", change " << whole.changes / part << " of " << whole.changes;
    }
  }
}

}  // namespace
}  // namespace nibble
