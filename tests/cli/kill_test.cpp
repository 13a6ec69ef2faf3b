// SPDX-License-Identifier: Apache-2.0
//
// A calibrated quantization that is killed goes on with the same command and ends with the same bytes, whatever it was
// about to write.
#include <random>

#include "cli/command.h"
#include "cli/traced_command.h"

namespace nibble {
namespace {

struct KillCase {
  const char *name, *method, *walk;
};

void PrintTo(const KillCase& which, std::ostream* out) { *out << which.name; }

class Kill : public ::testing::TestWithParam<KillCase> {
 protected:
  void SetUp() override {
    ASSERT_EQ(nibble_command(
                  scratch_,
                  "synth --hidden 64 --ffn 128 --layers 2 --heads 4 --kv-heads 2 --vocab 300 --context 128 --tied -o m")
                  .code,
              0);
    std::string text;
    for (int i = 0; i < 100; ++i) text += "Line number " + std::to_string(i) + " of the text.\n";
    scratch_.write("text.txt", text);
  }
  TracedRun run(const std::string& output, std::uint64_t kill_before) {
    return run_traced(scratch_.path(), NIBBLE_BINARY,
                      {"quantize", "m", "-f", "q4_0", "--method", GetParam().method, "--walk", GetParam().walk,
                       "--text", "text.txt", "--samples", "8", "--length", "32", "-t", "1", "-o", output},
                      {.kill_before = kill_before});
  }
  ScratchDirectory scratch_;
};

TEST_P(Kill, TheSameCommandEndsWithTheSameBytes) {
  const TracedRun whole = run("whole.gguf", 0);
  ASSERT_TRUE(whole.started) << "the system does not let a process trace its child";
  ASSERT_EQ(whole.code, 0);
  ASSERT_GT(whole.changes, 40u);
  const std::string expected = read_text(scratch_ / "whole.gguf");
  const std::size_t entries = scratch_.num_entries();

  std::mt19937_64 random(7);
  constexpr std::uint64_t kMoments = 6;
  for (std::uint64_t moment = 0; moment < kMoments; ++moment) {
    // One in each part of the run; and the run that goes on is killed, too, before what is left of it has half gone by.
    const std::uint64_t part = whole.changes / kMoments, at = 1 + moment * part + random() % part;
    const TracedRun first = run("out.gguf", at);
    ASSERT_TRUE(first.killed) << at;
    if (std::filesystem::exists(scratch_ / "out.gguf")) {
      EXPECT_EQ(read_text(scratch_ / "out.gguf"), expected)
          << at;  // it was there, and what was left of the work was being removed
    }
    const TracedRun second = run("out.gguf", 1 + random() % 20);
    EXPECT_TRUE(second.killed || second.code == 0) << at;
    if (second.killed) {
      const TracedRun last = run("out.gguf", 0);
      EXPECT_EQ(last.code, 0) << at;
    }
    EXPECT_EQ(read_text(scratch_ / "out.gguf"), expected) << "killed before change " << at << " of " << whole.changes;
    std::filesystem::remove(scratch_ / "out.gguf");
    EXPECT_EQ(scratch_.num_entries(), entries) << at;  // nothing is left of the work or of the killed runs' files
  }
}

TEST_P(Kill, WhatWasFinishedIsNotDoneAgain) {
  const TracedRun whole = run("out.gguf", 0);
  ASSERT_EQ(whole.code, 0);
  std::filesystem::remove(scratch_ / "out.gguf");
  // It leaves pieces that the next run finds: fewer are written.
  ASSERT_TRUE(run("out.gguf", whole.changes * 2 / 3).killed);
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "out.gguf.work/key"));
  const TracedRun rest = run("out.gguf", 0);
  EXPECT_EQ(rest.code, 0);
  EXPECT_LT(rest.changes, whole.changes * 3 / 4);
}

INSTANTIATE_TEST_SUITE_P(Methods, Kill,
                         testing::Values(KillCase{"gptq", "gptq", "f32"}, KillCase{"awq", "awq", "f32"},
                                         KillCase{"gptq_int8", "gptq", "int8"},
                                         KillCase{"signround", "signround", "f32"}),
                         [](const auto& which) { return std::string(which.param.name); });

}  // namespace
}  // namespace nibble
