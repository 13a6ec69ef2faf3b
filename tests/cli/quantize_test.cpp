// SPDX-License-Identifier: Apache-2.0
//
// Budgets that are met and proved, layers that are reported: quantize with statistics, as a user sees it.
#include "cli/command.h"

namespace nibble {
namespace {

class Quantize : public ::testing::Test {
 protected:
  void SetUp() override {
    run("synth --hidden 256 --ffn 512 --layers 2 --heads 4 --kv-heads 2 --vocab 300 --context 64 --tied -o m");
    std::string text;
    for (int i = 0; i < 1200; ++i) text += "Line number " + std::to_string(i * 7919 % 1200) + " of the text.\n";
    scratch_.write("text.txt", text);
  }
  CommandResult run(const std::string& arguments, int code = 0) {
    CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error << result.out;
    return result;
  }
  ScratchDirectory scratch_;
};

TEST_F(Quantize, MeetsADivergenceOnTextThatWasHeldOut) {
  const auto tight = run("quantize m --max-kl 0.0005 --text text.txt -o tight.gguf --json").json();
  const auto loose =
      run("quantize m --max-kl 0.02 --text text.txt -o loose.gguf --json --save-recipe recipe.json").json();
  for (const auto& [result, limit] : {std::pair(tight, 0.0005), std::pair(loose, 0.02)}) {
    EXPECT_EQ(result["released"], true);
    EXPECT_EQ(result["held_out"], true);
    EXPECT_LE(result["verdict"]["candidates"][0]["figures"]["kl_mean"]["upper_bound"].get<double>(), limit);
    ASSERT_FALSE(result["rounds"].empty());
    EXPECT_LE(result["rounds"].size(), 6u);
    for (const char* key :
         {"mostly", "bits_per_weight", "tensor_bytes", "output_bytes", "expected_kl", "kl", "accepted"})
      EXPECT_TRUE(result["rounds"][0].contains(key)) << key;
  }
  EXPECT_LT(loose["output_bytes"].get<double>(), tight["output_bytes"].get<double>());
  EXPECT_EQ(std::filesystem::file_size(scratch_ / "loose.gguf"), loose["output_bytes"].get<std::uint64_t>());
  // The recipe that is saved is the one of the output that stayed.
  const auto again = run("quantize m --recipe recipe.json -o again.gguf --json").json();
  EXPECT_EQ(again["tensor_bytes"], loose["tensor_bytes"]);
}

TEST_F(Quantize, WritesNothingWhereNoMixKeepsADivergence) {
  const std::size_t before = scratch_.num_entries();
  const CommandResult refused = run("quantize m --max-kl 1e-7 --text text.txt -o out.gguf", 3);
  EXPECT_NE(refused.out.find("out.gguf was not written"), std::string::npos) << refused.out;
  EXPECT_EQ(scratch_.num_entries(), before);
}

TEST_F(Quantize, KeepsWithinASizeAndSaysWhatItCost) {
  const auto sized = run("quantize m --size 750KB --text text.txt -o sized.gguf --json").json();
  EXPECT_LE(std::filesystem::file_size(scratch_ / "sized.gguf"), 750'000u);
  EXPECT_GT(std::filesystem::file_size(scratch_ / "sized.gguf"), 675'000u);
  EXPECT_EQ(sized["rounds"].size(), 1u);
  EXPECT_EQ(sized["expected"], sized["rounds"][0]["expected_kl"]);
  EXPECT_EQ(sized["measured"], sized["rounds"][0]["kl"]["value"]);
  EXPECT_EQ(sized["agrees"], sized["rounds"][0]["agrees"]);
  // What was made is the best of what was measured whole.
  ASSERT_FALSE(sized["mixes"].empty());
  EXPECT_EQ(sized["mixes"][0]["solved"], true);
  for (const auto& mix : sized["mixes"])
    EXPECT_LE(sized["expected"].get<double>(), mix["expected_kl"].get<double>()) << mix["name"];
  EXPECT_GT(sized["verdict"]["kl_mean"].get<double>(), 0);
  const CommandResult shown = run("quantize m --bpw 4.5 --text text.txt -o bits.gguf");
  EXPECT_NE(shown.out.find("held out of calibration"), std::string::npos) << shown.out;
  for (const char* line :
       {"nibble: stage 1 of 4: sensitivity\n", "nibble: stage 3 of 4: quantize\n", "by its parts", "measured"})
    EXPECT_NE(shown.error.find(line), std::string::npos) << shown.error;
  const std::string stage = "stage 1 of 4: sensitivity\n";  // which has passes of its own, and is told once
  EXPECT_EQ(shown.error.find(stage), shown.error.rfind(stage)) << shown.error;
  EXPECT_EQ(shown.error.find("nibble: load\n"), std::string::npos) << shown.error;
}

TEST_F(Quantize, SaysWhatABudgetNeeds) {
  EXPECT_NE(run("quantize m --max-kl 0.02 -o out.gguf", 2).error.find("add --text FILE"), std::string::npos);
  EXPECT_NE(run("quantize m --max-kl 0 --text text.txt -o out.gguf", 2).error.find("above 0"), std::string::npos);
  EXPECT_NE(run("quantize m --max-kl 0.02 --bpw 4 --text text.txt -o out.gguf", 2).error.find("name one of"),
            std::string::npos);
  scratch_.write("short.txt", std::string(1500, 'a') + "\n");
  EXPECT_NE(run("quantize m --max-kl 0.02 --text short.txt -o out.gguf", 1).error.find("a longer --text"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "out.gguf"));
}

TEST_F(Quantize, FilesHoldWhatAShorthandStandsFor) {
  const auto made = [&](const std::string& arguments) {
    run("quantize m -o short " + arguments);
    const nlohmann::json found = run("inspect short --json").json();
    for (const auto& tensor : found["tensors"])
      if (tensor["name"] == "model.layers.0.mlp.down_proj.weight") return tensor["format"].get<std::string>();
    return std::string("missing");
  };
  EXPECT_EQ(made("-f int2:g32"), "int2:g32:half");
  EXPECT_EQ(made("-f int2:g32:sym"), "int2:g32");
  EXPECT_EQ(made("-f int3:g32"), "int3:g32:signed");
  EXPECT_EQ(made("-f int3:g32:asym"), "int3:g32:asym");
  run("quantize m -f int2:g32 --to gptq -o gptq");
  run("check gptq");
  run("quantize m -f int4:g16 --to gptq -o small");
  EXPECT_EQ(read_text(scratch_ / "small/README.md").find("vllm serve"), std::string::npos);  // which has no such groups
}

TEST_F(Quantize, ReportsLayersAndErrors) {
  const std::string arguments = "quantize m -f q3_k --method gptq --text text.txt --samples 16 -o out.gguf";
  const CommandResult shown = run(arguments);
  EXPECT_NE(shown.error.find("layer 2 of 2: error of outputs"), std::string::npos) << shown.error;
  EXPECT_NE(shown.error.find("left"), std::string::npos) << shown.error;
  EXPECT_NE(shown.out.find("error, nearest"), std::string::npos) << shown.out;
  for (const char* kind : {"down", "embedding", "norms, biases"})
    EXPECT_NE(shown.out.find(kind), std::string::npos) << kind;
  std::size_t judged = 0;
  const auto summary = run(arguments + " --json").json();
  for (const auto& tensor : summary["tensors"]) {
    if (!tensor.contains("error") || tensor["kind"] == "embedding") continue;
    ++judged;
    EXPECT_LT(tensor["error"]["stored"].get<double>(), tensor["error"]["nearest"].get<double>()) << tensor;
  }
  EXPECT_EQ(judged, 14u);
}

TEST_F(Quantize, SaysWhatLayersHaveLearnt) {
  const std::string arguments =
      "quantize m -f q3_k --method blockwise --steps 20 --batch 4 --rate 0.02 --text text.txt --samples 16 -o out.gguf";
  const CommandResult shown = run(arguments);
  EXPECT_NE(shown.error.find("learning takes "), std::string::npos) << shown.error;
  EXPECT_NE(shown.error.find(" learnt (step "), std::string::npos) << shown.error;
  const auto summary = run(arguments + " --json").json();
  ASSERT_EQ(summary["learnt"].size(), 2u);
  for (const auto& layer : summary["learnt"]) {
    EXPECT_LE(layer["after"].get<double>(), layer["before"].get<double>()) << layer;
    EXPECT_LE(layer["kept_step"].get<int>(), 20) << layer;
  }
  const CommandResult refused = run("quantize m -f iq2_xs --method signround --text text.txt -o no.gguf", 2);
  EXPECT_NE(refused.error.find("rounding is not learned in iq2_xs, its codes stand for several weights at once; take "
                               "the method gptq or descent"),
            std::string::npos)
      << refused.error;
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "no.gguf"));
}

TEST_F(Quantize, StagesAreThoseThatCome) {
  const CommandResult shown =
      run("quantize m -f q4_0 --method gptq --hessian guided --text text.txt --samples 8 -o out.gguf");
  for (const char* const line : {"nibble: stage 1 of 2: gradients\n", "nibble: stage 2 of 2: quantize\n",
                                 "guided moments of 8 windows", "a few tokens decide in them"})
    EXPECT_NE(shown.error.find(line), std::string::npos) << shown.error;
}

TEST_F(Quantize, WhatIsRefusedLeavesNothing) {
  scratch_.write("short.txt", "A line.\n");
  const CommandResult refused = run("quantize m -f q3_k --method gptq --text short.txt -o out.gguf", 1);
  EXPECT_NE(refused.error.find("shorter than one window"), std::string::npos) << refused.error;
  for (const auto& entry : std::filesystem::directory_iterator(scratch_.path()))
    EXPECT_FALSE(entry.path().filename().string().starts_with("out.gguf")) << entry.path();
}

// A file may be sound, and what is in it no model.
TEST_F(Quantize, CheckTellsAModelThatCannotBeRun) {
  EXPECT_EQ(run("check m --json").json()["obstacle"], nullptr);
  std::string config = read_text(scratch_ / "m/config.json");
  const std::string layers = "\"num_hidden_layers\": ";
  const std::size_t place = config.find(layers) + layers.size();
  config.replace(place, 1, "3");
  scratch_.write("m/config.json", config);
  const CommandResult found = run("check m --json", 1);
  EXPECT_NE(found.error.find("the file is sound, but the model in it cannot be run: "), std::string::npos)
      << found.error;
  const auto checked = found.json();
  EXPECT_EQ(checked["sound"], true);
  EXPECT_NE(checked["obstacle"].get<std::string>().find("model.layers.2"), std::string::npos) << checked.dump();
  EXPECT_NE(run("inspect m").out.find("cannot be run: "), std::string::npos);
}

TEST_F(Quantize, ADryRunOfSeveralContainersTellsOfEach) {
  const std::string command = "quantize m -f int4:g32 --to awq,gguf,mlx --dry-run";
  const CommandResult shown = run(command + " -o set");
  for (const char* const line : {"set.gguf: the same numbers, tensors of ", "set-mlx: the same numbers, tensors of "})
    EXPECT_NE(shown.out.find(line), std::string::npos) << shown.out;
  const auto copies = run(command + " --json").json()["copies"];
  ASSERT_EQ(copies.size(), 2u);
  EXPECT_EQ(copies[0]["output"], "gguf");
  for (const auto& copy : copies) EXPECT_GT(copy["tensor_bytes"], 0);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "set.gguf"));
}

// A GGUF file has no card; what it was made of it says all the same.
TEST_F(Quantize, TheNameOfTheBaseGoesThroughGgufFiles) {
  run("quantize m -f q8_0 -o through.gguf");
  run("convert through.gguf -o back --dtype f32");
  EXPECT_NE(read_text(scratch_ / "back/README.md").find("base_model: \"m\""), std::string::npos)
      << read_text(scratch_ / "back/README.md");
}

// What llama.cpp makes by the name is told, and needs not fit the model as strictly as what was asked for.
TEST_F(Quantize, StrictIsForWhatIsAskedForOnly) {
  run("synth --hidden 64 --ffn 128 --layers 1 --heads 4 --kv-heads 2 --vocab 300 --context 64 --tied -o narrow");
  EXPECT_NE(run("quantize narrow -f mix:q4_0 -o mix.gguf --strict", 1).error.find("q6_k"), std::string::npos);
  const CommandResult result = run("quantize narrow -f q4_0 -o q.gguf --strict");
  EXPECT_NE(result.error.find("what llama.cpp makes by that name is -f mix:q4_0"), std::string::npos) << result.error;
}

}  // namespace
}  // namespace nibble
