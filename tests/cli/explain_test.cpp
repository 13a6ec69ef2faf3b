// SPDX-License-Identifier: Apache-2.0
//
// explain and plan as a user types them.
#include <algorithm>
#include <set>

#include "cli/command.h"

namespace nibble {
namespace {

class Explain : public ::testing::Test {
 protected:
  CommandResult run(const std::string& arguments) {
    CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, 0) << arguments << '\n' << result.error;
    return result;
  }
  nlohmann::json json(const std::string& arguments) { return run(arguments + " --json").json(); }
  void expect_refused(const std::string& arguments, const std::string& message) {
    const CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_EQ(result.error, "nibble: error: " + message + "\n");
  }
  ScratchDirectory scratch_;
};

TEST_F(Explain, NumbersStepByStep) {
  const std::string arguments = "explain --format int8:tensor:asym --range -2.5,3.0 3.0 0.0 -2.5";
  const auto e = json(arguments);
  EXPECT_EQ(e["format"], "int8:tensor:asym");
  EXPECT_EQ(e["range"], (nlohmann::json{-2.5, 3.0}));
  EXPECT_EQ(e["numbers"][0]["code"], 127);
  EXPECT_EQ(e["numbers"][1]["code"], -12);
  EXPECT_EQ(e["numbers"][1]["decoded"], 0);
  EXPECT_EQ(e["zero_points"]["signed"], -12);
  EXPECT_EQ(e["zero_points"]["unsigned"], 116);
  const std::string text = run(arguments).out;
  EXPECT_NE(text.find("0.0215686"), std::string::npos);
  EXPECT_NE(text.find("codes 0 .. 255, zero point 116"), std::string::npos);
  // A format may stand first, and numbers may be negative.
  EXPECT_EQ(json("explain q4_k -0.5 0.25")["numbers"].size(), 2u);
  EXPECT_EQ(json("explain int8 3 -1")["format"], "int8:row");
  EXPECT_EQ(json("explain -f int4:row --fit percentile:80 3 0 -2.5")["numbers"].size(), 3u);
}

TEST_F(Explain, SubjectsInTwoLanguages) {
  EXPECT_NE(run("explain int4").out.find("How it works"), std::string::npos);
  EXPECT_NE(run("explain 4 --lang zh").out.find("适用场合"), std::string::npos);
  EXPECT_EQ(json("explain mixed")["name"], "mixed");
  expect_refused("explain int4 --lang xx", "unknown language 'xx'; known are en, zh");
  expect_refused("explain int4 1 two", "not a number: 'two'");
  expect_refused("explain int4:row --range 3 1", "a range is two numbers with a comma between, as in -2.5,3: '3'");
  expect_refused("explain int4:row --fit percentile:0 1",
                 "only percentile takes a number, above 0 and up to 100, as in percentile:99.5: 'percentile:0'");
}

TEST_F(Explain, FormatsOfTilesInTheirOwnWords) {
  EXPECT_NE(run("explain e8p2").out.find("E8"), std::string::npos);
  const std::string chinese = run("explain e8p2 --lang zh").out;
  EXPECT_TRUE(chinese.starts_with("e8p2: ")) << chinese;
  EXPECT_NE(chinese.find("E8"), std::string::npos) << chinese;
  EXPECT_EQ(json("explain trellis2:l8 --lang zh")["format"]["name"], "trellis2:l8");
}

TEST_F(Explain, WhatIsMistypedHasNearWords) {
  for (const auto& [typed, meant] :
       std::vector<std::pair<std::string, std::string>>{{"distil", "distill"}, {"mixd", "mixed"}, {"int44", "int4"}}) {
    const CommandResult result = nibble_command(scratch_, "explain " + typed);
    EXPECT_EQ(result.code, 2);
    EXPECT_NE(result.error.find("nothing is known by this name: " + typed + "; did you mean " + meant),
              std::string::npos)
        << result.error;
  }
}

// Every command in every text is understood: run where the model is not, it fails over that and nothing else.
TEST_F(Explain, EveryCommandOfTheTextsParses) {
  std::set<std::string> commands;
  for (const char* topic :
       {"int8", "int6", "int5", "int4", "int3", "int2", "mixed", "ternary", "binary", "fp8", "nf4", "ptq", "qat"}) {
    const auto text = json(std::string("explain ") + topic);
    for (const auto& command : text["commands"]) commands.insert(command["command"]);
  }
  EXPECT_GT(commands.size(), 25u);
  for (const std::string& command : commands) {
    ASSERT_TRUE(command.starts_with("nibble ")) << command;
    const CommandResult result = nibble_command(scratch_, command.substr(7));
    const bool needs_model = command.find("models/fable-5M") != std::string::npos;
    EXPECT_EQ(result.code, needs_model ? 1 : 0) << command << '\n' << result.error;
    if (needs_model) {
      EXPECT_NE(result.error.find("fable"), std::string::npos) << result.error;
    }
  }
}

TEST_F(Explain, Plan) {
  const auto plan = json("plan 70B --memory 24GB --context 8192 --bandwidth 60GB/s");
  EXPECT_EQ(plan["memory_bytes"], 24'000'000'000u);
  EXPECT_EQ(plan["bandwidth_bytes_per_second"], 60e9);
  EXPECT_EQ(plan["cache"][0]["bytes"], 80u * 2 * 8 * 128 * 8192 * 2);
  EXPECT_FALSE(plan["best"].is_null());
  for (const auto& format : plan["formats"])
    for (const char* key : {"format", "bits_per_weight", "bytes", "fits", "longest_context", "tokens_per_second"})
      EXPECT_TRUE(format.contains(key)) << key;
  EXPECT_NE(run("plan 70B --memory 24GB --bandwidth 60GB/s").out.find("The most bits that fit: "), std::string::npos);
  EXPECT_NE(run("plan 70B --memory 1GB --bandwidth 60GB/s").out.find("Nothing fits."), std::string::npos);
  EXPECT_EQ(json("plan " + kTied + " --memory 1GB --bandwidth 1GB -f q8_0")["formats"].size(), 1u);
  expect_refused("plan 8B --memory lots", "--memory takes an amount of bytes such as 24GB or 512MiB: 'lots'");
}

// Whatever another verb takes by name can be asked about, in both languages.
TEST_F(Explain, KnowsEveryNameThatOtherVerbsTake) {
  std::set<std::string> names = {
      "kl",         "perplexity", "imatrix",     "calibration",  "outliers", "groups",     "tokens",     "rtn",
      "mse",        "awq",        "smoothquant", "gptq",         "descent",  "absmax",     "minmax",     "search",
      "percentile", "entropy",    "absmean",     "threshold",    "auto",     "hellaswag",  "mmlu",       "arc",
      "blimp",      "lambada",    "piqa",        "boolq",        "gsm8k",    "openbookqa", "winogrande", "bleu",
      "table",      "tasks",      "split",       "cache",        "lsq",      "seq",        "twn",        "ttq",
      "bwn",        "ptq",        "qat",         "distillation", "hadamard"};
  const auto formats = json("formats");
  for (const auto& format : formats["formats"]) names.insert(format["name"]);
  EXPECT_GT(names.size(), 90u);
  for (const std::string& name : names) {
    run("explain " + name);
    const std::string chinese = run("explain " + name + " --lang zh").out;
    EXPECT_TRUE(std::ranges::any_of(chinese, [](char c) { return static_cast<unsigned char>(c) >= 0xe4; })) << name;
  }
  const CommandResult unknown = nibble_command(scratch_, "explain nonsense");
  EXPECT_EQ(unknown.code, 2);
  const CommandResult near = nibble_command(scratch_, "explain q4_k_n");
  EXPECT_NE(near.error.find("did you mean q4_k_s, q4_k_m?"), std::string::npos) << near.error;
  for (const char* listed : {"int8", "mixed", "gptq", "perplexity", "hellaswag"})
    EXPECT_NE(unknown.error.find(listed), std::string::npos) << unknown.error;
}

TEST_F(Explain, PlanSaysWhatARunWouldTake) {
  const auto plan = json("plan 8B --memory 12GB --bandwidth 60GB -f f16,q4_k_m");
  EXPECT_EQ(plan["formats"][0]["cache"], "f16");
  EXPECT_EQ(plan["formats"][1]["cache"], "q8_0");
  EXPECT_LE(json("plan 8B --memory 1TB --bandwidth 60GB -f q4_k_m")["formats"][0]["longest_context"]["q8_0"], 131072);
  EXPECT_NE(run("plan 70B --memory 24GB --bandwidth 60GB -f mix:iq2_xxs").out.find("--method imatrix --text"),
            std::string::npos);
  EXPECT_EQ(run("plan 8B --memory 12GB --bandwidth 60GB -f q4_k_m").out.find("imatrix"), std::string::npos);
  EXPECT_NE(run("plan 8B --memory 12GB --bandwidth 60GB").out.find("headroom (a twentieth, at least 256 MB)"),
            std::string::npos);
  EXPECT_NE(run("plan " + kTied + " --memory 1GB --bandwidth 1GB -f q4_k").out.find("q4_k *"),
            std::string::npos);  // rows of 64
  EXPECT_NE(run("plan " + kTied + " --memory 250MB --bandwidth 1GB -f q8_0").out.find("what decides is the headroom"),
            std::string::npos);
}

}  // namespace
}  // namespace nibble
