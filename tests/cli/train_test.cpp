// SPDX-License-Identifier: Apache-2.0
//
// nibble train: a model comes of text, the same one whatever the number of threads and wherever the run was killed.
#include <random>

#include "cli/command.h"
#include "cli/traced_command.h"

namespace nibble {
namespace {

const std::string kShape = "--config shape --held-out 0.1 --batch 2 --length 32 ";

class Train : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(nibble_command(scratch_,
                             "synth --hidden 32 --ffn 64 --layers 2 --heads 4 --kv-heads 2 --vocab 300 --context 64 "
                             "--tied -o shape")
                  .code,
              0);
    std::string text;
    for (int i = 0; i < 60; ++i) text += "Line number " + std::to_string(i) + " of the text.\n\n\n";
    scratch_.write("text.txt", text);
  }
  CommandResult train(const std::string& arguments) {
    return nibble_command(scratch_, "train --text text.txt " + arguments);
  }
  ScratchDirectory scratch_;
};

TEST_F(Train, MakesAModelOfText) {
  const CommandResult made = train(kShape + "--steps 40 --validate-every 20 -o m --json -t 2");
  ASSERT_EQ(made.code, 0) << made.error;
  EXPECT_NE(made.error.find("training takes"), std::string::npos) << made.error;
  const auto json = made.json();
  EXPECT_EQ(json["steps"], 40);
  EXPECT_EQ(json["resumed_at"], 0);
  EXPECT_EQ(json["stopped_early"], false);
  ASSERT_EQ(json["loss"].size(), 40u);
  ASSERT_EQ(json["validation"].size(), 2u);
  EXPECT_LT(json["loss"][39]["loss"].get<double>(), 0.7 * json["loss"][0]["loss"].get<double>());
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "m.training"));
  // Another number of threads, the same bytes; and what it has learnt, an engine reads.
  ASSERT_EQ(train(kShape + "--steps 40 --validate-every 20 -o n -t 1").code, 0);
  for (const char* const file : {"model.safetensors", "config.json", "tokenizer.json", "nibble_manifest.json"})
    EXPECT_TRUE(read_text(scratch_ / "m" / file) == read_text(scratch_ / "n" / file)) << file;
  const CommandResult judged = nibble_command(scratch_, "eval m --text text.txt --context 32 -t 1 --json");
  ASSERT_EQ(judged.code, 0) << judged.error;
  const CommandResult begun = nibble_command(scratch_, "eval shape --text text.txt --context 32 -t 1 --json");
  EXPECT_LT(judged.json()["perplexity"].get<double>(), begun.json()["perplexity"].get<double>() / 4);
}

TEST_F(Train, AKilledRunEndsInTheSameBytes) {
  const auto run = [&](const std::string& output, std::uint64_t kill_before) {
    return run_traced(scratch_.path(), NIBBLE_BINARY,
                      {"train", "--text", "text.txt", "--config", "shape", "--batch", "2", "--length", "16", "--steps",
                       "12", "--save-every", "3", "--validate-every", "0", "-t", "1", "-o", output},
                      {.kill_before = kill_before});
  };
  const TracedRun whole = run("whole", 0);
  ASSERT_TRUE(whole.started) << "the system does not let a process trace its child";
  ASSERT_EQ(whole.code, 0);
  std::mt19937_64 random(7);
  constexpr std::uint64_t kMoments = 5;
  for (std::uint64_t moment = 0; moment < kMoments; ++moment) {
    const std::uint64_t part = whole.changes / kMoments, at = 1 + moment * part + random() % part;
    ASSERT_TRUE(run("out", at).killed) << at;
    EXPECT_EQ(run("out", 0).code, 0) << at;
    for (const char* const file : {"model.safetensors", "nibble_manifest.json"})
      EXPECT_TRUE(read_text(scratch_ / "out" / file) == read_text(scratch_ / "whole" / file))
          << "killed before change " << at << " of " << whole.changes;
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "out.training"));
    std::filesystem::remove_all(scratch_ / "out");
  }
}

TEST_F(Train, WhatIsTrainedIsAModelLikeOthers) {
  ASSERT_EQ(nibble_command(scratch_, "train --text text.txt " + kShape + "--steps 2 -o m").code, 0);
  for (const char* const next : {"convert m -o c", "quantize m -f q8_0 -o m.gguf", "convert m.gguf -o d", "check d",
                                 "quantize m -f int4:g32:bias --to mlx -o e", "check c --against m"}) {
    const CommandResult result = nibble_command(scratch_, next);
    EXPECT_EQ(result.code, 0) << next << '\n' << result.error;
  }
  EXPECT_EQ(nibble_command(scratch_, "inspect m").out.find("quantized by"), std::string::npos);
  EXPECT_NE(read_text(scratch_ / "c" / "README.md").find("trained from nothing on text"), std::string::npos);
}

// The decay of a delta rule is stored as its logarithm, which a rate that is too high drives to where there is none.
TEST_F(Train, NumbersWithoutAPlaceInTheFileAreNotWritten) {
  nlohmann::json config = nlohmann::json::parse(read_text(NIBBLE_SOURCE_DIR "/tests/data/tiny_qwen35/config.json"));
  (config.contains("text_config") ? config["text_config"] : config)["vocab_size"] = 300;
  scratch_.write("hybrid.json", config.dump());
  const CommandResult result = nibble_command(
      scratch_,
      "train --text text.txt --config hybrid.json --tokenizer shape --optimizer adamw --rate 1 --steps 60 "
      "-b 2 -l 16 --validate-every 0 -o h");
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.error.find("A_log' to where its file has no place for it; lower the rate"), std::string::npos)
      << result.error;
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "h"));
}

TEST_F(Train, SaysWhatIsWrong) {
  const auto wrong = [&](const std::string& arguments, const std::string& part) {
    const CommandResult result = train(arguments);
    EXPECT_NE(result.code, 0) << arguments;
    EXPECT_NE(result.error.find(part), std::string::npos) << result.error;
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "x")) << arguments;
  };
  wrong("--config shape --batch 600 --length 32 -o x", "the text is shorter than a batch");
  wrong("--config shape --length 65 -o x", "longer than the model's context: 65 and 64");
  wrong(kShape + "--optimizer adamw --matrix-rate 0.1 -o x", "--matrix-rate");
  wrong(kShape + "--optimizer sgd --rate 10 --clip 0 --warm-up 0 --steps 200 -o x", "lower the rate");
  wrong("--config nowhere.json -o x", "nowhere.json");
  wrong("--config shape --batch 2 --length 32 --held-out 0.001 --validate-every 1 -o x",
        "held-out text is shorter than a row");
  wrong("--config shape --batch 2 --length 32 --held-out 0 --patience 3 -o x", "--patience");
  wrong(kShape + "-o x.gguf", "written to a directory");
}

}  // namespace
}  // namespace nibble
