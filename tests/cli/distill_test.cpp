// SPDX-License-Identifier: Apache-2.0
//
// nibble distill: what is said, and that a run which was killed ends in the same bytes.
#include "cli/command.h"
#include "cli/killed_training.h"

namespace nibble {
namespace {

class DistillCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(nibble_command(scratch_,
                             "synth --hidden 32 --ffn 64 --layers 2 --heads 4 --kv-heads 2 --vocab 300 --context 64 "
                             "--tied -o original")
                  .code,
              0);
    std::string text;
    for (int i = 0; i < 60; ++i) text += "Line number " + std::to_string(i) + " of the text.\n\n\n";
    scratch_.write("text.txt", text);
    ASSERT_EQ(nibble_command(scratch_, "quantize original -f int2:g32 -o model").code, 0);
  }
  CommandResult distill(const std::string& arguments) {
    return nibble_command(scratch_, "distill model --original original --text text.txt -b 2 -l 16 " + arguments);
  }
  ScratchDirectory scratch_;
};

TEST_F(DistillCommand, TellsWhatItMade) {
  const CommandResult made = distill("--steps 20 --validate-every 10 --rate 0.01 -o out --json");
  ASSERT_EQ(made.code, 0) << made.error;
  EXPECT_NE(made.error.find("training takes"), std::string::npos) << made.error;
  const auto json = made.json();
  EXPECT_EQ(json["steps"], 20);
  EXPECT_EQ(json["resumed_at"], 0);
  ASSERT_EQ(json["judgements"].size(), 3u);
  EXPECT_EQ(json["judgements"][0]["step"], 0);
  EXPECT_GT(json["judgements"][0]["divergence"].get<double>(), 0);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "out.training"));
  EXPECT_NE(read_text(scratch_ / "out" / "README.md").find("**Distilled:**"), std::string::npos);
  const CommandResult told = distill("--steps 2 -o told");
  EXPECT_NE(told.out.find("all codes stayed"), std::string::npos) << told.out;
  EXPECT_NE(told.out.find("which was written"), std::string::npos) << told.out;
}

TEST_F(DistillCommand, AKilledRunEndsInTheSameBytes) {
  expect_same_bytes_where_killed(scratch_,
                                 {"distill", "model", "--original", "original", "--text", "text.txt", "-b", "2", "-l",
                                  "16", "--steps", "9", "--save-every", "2", "--validate-every", "3", "-t", "1"},
                                 4);
}

TEST_F(DistillCommand, AKilledRunThatTrainsCodesAndEmbeddingDoesSoToo) {
  ASSERT_EQ(nibble_command(scratch_, "quantize original -f int2:g32 --embedding bf16 -o model").code, 0);
  expect_same_bytes_where_killed(
      scratch_,
      {"distill", "model",       "--original", "original",         "--text", "text.txt",         "-b", "2",  "-l",
       "16",      "--steps",     "9",          "--save-every",     "2",      "--validate-every", "3",  "-t", "1",
       "--codes", "--code-rate", "0.1",        "--train-embedding"},
      4);
  const auto manifest = nlohmann::json::parse(read_text(scratch_ / "whole" / "nibble_manifest.json"));
  EXPECT_NE(manifest["distilled"]["kept_step"], 0);
  EXPECT_EQ(manifest["distilled"]["embedding"], true);
  EXPECT_EQ(manifest["distilled"]["coded_matrices"], manifest["distilled"]["matrices"]);
}

TEST_F(DistillCommand, SaysWhatIsWrong) {
  const auto wrong = [&](const std::string& arguments, int code, const std::string& part) {
    const CommandResult result = distill(arguments);
    EXPECT_EQ(result.code, code) << arguments << result.error;
    EXPECT_NE(result.error.find(part), std::string::npos) << result.error;
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "x")) << arguments;
  };
  wrong("--validate-every 0 --patience 3 -o x", 2, "--patience");
  wrong("--held-out 0.001 -o x", 1, "--held-out");
  wrong("-l 65 -o x", 2, "--length");
  wrong("-o model", 2, "model");
  wrong("--to bitsandbytes -o x", 1, "have no place in the formats");
  wrong("--code-rate 0.1 -o x", 2, "--code-rate");
  wrong("--validation ./text.txt -o x", 2, "--validation judges by text that is not learnt from");
  const CommandResult alone = nibble_command(scratch_, "distill model --original ./model --text text.txt -o x");
  EXPECT_EQ(alone.code, 2);
  EXPECT_NE(alone.error.find("nothing to learn from itself"), std::string::npos) << alone.error;
  const std::string part = read_text(scratch_ / "text.txt").substr(0, 400);
  scratch_.write("part.txt", part);
  const CommandResult told = distill("--steps 1 --validation part.txt -o y");
  EXPECT_NE(told.error.find("so what is judged by was learnt from"), std::string::npos) << told.error;
}

}  // namespace
}  // namespace nibble
