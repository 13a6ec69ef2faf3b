// SPDX-License-Identifier: Apache-2.0
//
// Options are judged before any work is done, and none is ignored.
#include <algorithm>
#include <filesystem>

#include "cli/command.h"

namespace nibble {
namespace {

class OptionsAreJudged : public ::testing::Test {
 protected:
  CommandResult refused(const std::string& arguments, int code = 2, const std::string& environment = "") {
    CommandResult result = nibble_command(scratch_, arguments, environment);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_TRUE(result.error.starts_with("nibble: error: ")) << arguments << '\n' << result.error;
    return result;
  }
  void make_model() {
    ASSERT_EQ(
        nibble_command(scratch_, "synth --hidden 256 --ffn 256 --layers 1 --heads 4 --vocab 300 --context 64 -o m")
            .code,
        0);
    std::string text;
    for (int i = 0; i < 600; ++i) text += "Line number " + std::to_string(i) + ".\n";
    scratch_.write("text.txt", text);
  }
  ScratchDirectory scratch_;
};

// The model and the text are missing, so whatever looked at them first would exit with 1.
TEST_F(OptionsAreJudged, BeforeAnythingIsRead) {
  for (const char* number : {"nan", "inf", "-1", "0", "1e9", "0x10", "4.5x", "''"}) {
    refused(std::string("quantize none --text none --bpw ") + number + " -o x.gguf");
    refused(std::string("quantize none --text none --max-kl ") +
            (std::string(number) == "4.5x" ? "4.5x" : std::string("-") + number) + " -o x.gguf");
    refused(std::string("quantize none --text none -f q4_0 --method smoothquant --alpha ") +
            (std::string(number) == "0" ? "2" : number) + " -o x.gguf");
    refused(std::string("run none -p x --temperature 1 --top-p ") + (std::string(number) == "0" ? "1.5" : number));
  }
  for (const char* size : {"0x100MB", "nan", "-1GB", "0", "24", "1e400GB", "3 bananas", "GB"})
    for (const char* option : {"quantize none --text none -o x.gguf --size '", "plan 8B --bandwidth 60GB --memory '",
                               "plan 8B --memory 24GB --bandwidth '"})
      refused(option + std::string(size) + "'");
  for (const char* count : {"-1", "0x10", "1.5", "99999999999999999999", "many"})
    for (const char* option :
         {"eval none --text none --windows ", "eval none --text none --context ", "run none -p x -n ", "bench none -r ",
          "bench none -b ", "calibrate none --text none -o x --samples ",
          "quantize none -f q4_0 --method gptq --text none -o x.gguf --length "})
      refused(option + std::string(count));
  for (const char* command :
       {"quantize none -f q4_0 --embedding nosuch -o x.gguf", "quantize none -f q4_0 --transform nosuch -o x.gguf",
        "quantize none -f q4_0 --round nosuch -o x.gguf",
        "quantize none -f q4_0 --verify none --accept nosuch -o x.gguf", "compare none --text none -f nosuch",
        "compare none --text none --method nosuch", "plan 8B --memory 24GB -f nosuch",
        "eval none --text none --protocol nosuch", "eval none --task nosuch none",
        "quantize none -f q4_0 --method gptq --text none --hidden-states nowhere -o x.gguf"})
    refused(command);
  EXPECT_EQ(scratch_.num_entries(), 0u);
}

TEST_F(OptionsAreJudged, NoneWithoutEffectIsIgnored) {
  make_model();
  const std::string eval = "eval m --text text.txt --context 16 ", quantize = "quantize m -f q4_0 -o x.gguf ";
  for (const char* option : {"--split 3", "--against-kv f16", "--limit 3", "--num-shots 1", "--max-tokens 3",
                             "--answers a.jsonl", "--markdown --json"})
    refused(eval + option);
  for (const char* option : {"--context 16", "--windows 2", "--protocol paper", "--split 2", "--special"})
    refused(std::string("eval m --task lambada text.txt ") + option);
  for (const char* option :
       {"--samples 3", "--length 8", "--seed 4", "--walk f32", "--hidden-states disk", "--special", "--text text.txt",
        "--alpha 0.3", "--steps 9", "--batch 2", "--rate 0.1", "--split 3", "--verbose", "--activation-fit mse"})
    refused(quantize + option);
  refused("quantize m -f f16 -o x.gguf --fit search");
  refused("quantize m -f f16 -o x.gguf --method mse");
  for (const char* option : {"-o x.gguf", "--save-recipe r.json", "--sync", "--verify text.txt", "--head q6_k"})
    refused(std::string("quantize m --pareto --text text.txt ") + option);
  refused("quantize m -f q4_0 --dry-run --sync");
  refused("quantize m -f q4_0 --dry-run --verify text.txt");
  for (const char* option : {"--seed 1", "--top-k 3", "--top-p 0.5", "--min-p 0.1", "-q --json"})
    refused(std::string("run m -p Tom -n 1 ") + option);
  refused("run m -p Tom --prompt-file text.txt");
  refused("bench m -p 4 -n 0 -b 2 -r 1");
  refused("bench m -p 0 -n 0");
  refused("calibrate m --text text.txt --length 16 -o x.gguf --full");
  refused("calibrate m --text text.txt --length 16 -o x.stats --samples 0 --seed 2");
  refused("compare m --text text.txt --context 16 --markdown --json");
  refused("plan 8B --memory 24GB --bandwidth 60GB -t 2");
  refused("explain int4:row 1 2 --lang zh");
  refused("inspect m --template --stats");
  EXPECT_EQ(scratch_.num_entries(), 2u);
}

TEST_F(OptionsAreJudged, WhatIsGivenChangesANamedShape) {
  const auto json = nibble_command(scratch_,
                                   "synth --shape qwen2.5-0.5b --layers 1 --hidden 64 --ffn 96 --heads 4 --kv-heads 2 "
                                   "--vocab 300 --context 128 -o m --json")
                        .json();
  EXPECT_EQ(json["shape"], "qwen2.5-0.5b (changed)");
  const auto model = nibble_command(scratch_, "inspect m --json").json();
  EXPECT_EQ(model["layers"], 1);
  EXPECT_EQ(model["hidden"], 64);
  EXPECT_EQ(model["intermediate"], 96);
  EXPECT_EQ(model["heads"], 4);
  EXPECT_EQ(model["kv_heads"], 2);
  EXPECT_EQ(model["head_dim"], 16);
  EXPECT_EQ(model["vocabulary"], 300);
  EXPECT_EQ(model["context"], 128);
  EXPECT_EQ(model["tied_head"], true);  // of the shape
}

TEST_F(OptionsAreJudged, ABudgetBelowTheSmallestIsRefusedBeforeMeasuring) {
  make_model();
  for (const char* budget : {"--bpw 1", "--size 1KB", "--size 12KiB"}) {
    const CommandResult result =
        nibble_command(scratch_, std::string("quantize m --text text.txt -o x.gguf ") + budget);
    EXPECT_EQ(result.code, 2) << result.error;
    EXPECT_NE(result.error.find("the smallest takes"), std::string::npos) << result.error;
    EXPECT_EQ(result.error.find("sensitivity"), std::string::npos) << result.error;
  }
}

TEST_F(OptionsAreJudged, EndingsInEitherCase) {
  make_model();
  ASSERT_EQ(nibble_command(scratch_, "quantize m -f q8_0 -o X.GGUF").code, 0);
  EXPECT_TRUE(std::filesystem::is_regular_file(scratch_ / "X.GGUF"));
  EXPECT_EQ(nibble_command(scratch_, "inspect X.GGUF --json").json()["container"], "gguf");
  EXPECT_EQ(nibble_command(scratch_, "quantize m -f q8_0 -o X.SafeTensors").code, 2);
  ASSERT_EQ(nibble_command(scratch_, "calibrate m --text text.txt --length 16 -o I.GGUF").code, 0);
  EXPECT_EQ(read_text(scratch_ / "I.GGUF").substr(0, 4), "GGUF");
}

TEST_F(OptionsAreJudged, AServerUnderLoad) {
  make_model();
  for (const char* wrong :
       {"bench", "bench m --clients 2", "bench m --url http://127.0.0.1:1", "bench --serve", "bench m --serve -b 2",
        "bench m --serve --url http://127.0.0.1:1", "bench --serve --url http://example.org:80",
        "bench m --serve --rate 1 --clients 2", "bench m --serve -p 60 -n 5"})
    refused(wrong);
  refused("bench --serve --url http://127.0.0.1:1", 1);
  const CommandResult result =
      nibble_command(scratch_, "bench " + kTale + " --serve --clients 2 --requests 3 -p 8 -n 4 -t 2 --json");
  if (result.error.find("built without its server") != std::string::npos) GTEST_SKIP() << "Optional: no Boost";
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(result.json()["answered"], 3);
  EXPECT_GT(result.json()["tokens_per_second"], 0);
  EXPECT_GT(result.json()["time_to_first_token_seconds"]["p50"], 0);
}

// 211 TB: more than any disk here has.
TEST_F(OptionsAreJudged, RoomOnTheDiskIsLookedAtFirst) {
  if (std::filesystem::space(scratch_.path()).available > 100'000'000'000'000u)
    GTEST_SKIP() << "a disk of more than 100 TB";
  const CommandResult result = refused("synth --hidden 131072 --ffn 524288 --layers 512 --heads 1024 -o m", 1);
  EXPECT_NE(result.error.find("needed "), std::string::npos) << result.error;
  EXPECT_NE(result.error.find("free "), std::string::npos) << result.error;
  EXPECT_EQ(scratch_.num_entries(), 0u);
}

// 0.6 GB of addresses do not hold the stacks of 200 threads.
TEST_F(OptionsAreJudged, FewerThreadsThanAskedFor) {
#if NIBBLE_SANITIZED
  GTEST_SKIP() << "Optional: sanitizers need more addresses than this leaves";
#endif
  make_model();
  const std::string arguments = "run m -p Tom -n 4 --ignore-end --json -t ";
  const CommandResult few = nibble_command(scratch_, arguments + "200", "ulimit -v 600000;");
  EXPECT_EQ(few.code, 0) << few.error;
  EXPECT_NE(few.error.find("the system gives no more threads"), std::string::npos) << few.error;
  EXPECT_EQ(std::ranges::count(few.error, '\n'), 1) << few.error;
  EXPECT_EQ(few.json()["text"], nibble_command(scratch_, arguments + "1").json()["text"]);
}

TEST_F(OptionsAreJudged, ACacheThatMemoryCannotHold) {
  make_model();
  const CommandResult result = refused("run m -p Tom -n 2000000000 --context 2000000000", 1);
  EXPECT_NE(result.error.find("cache is too large"), std::string::npos) << result.error;
  EXPECT_NE(result.error.find("available "), std::string::npos) << result.error;
}

}  // namespace
}  // namespace nibble
