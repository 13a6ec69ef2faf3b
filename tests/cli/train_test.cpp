// SPDX-License-Identifier: Apache-2.0
//
// nibble train: a model comes of text, the same one whatever the number of threads and wherever the run was killed.
#include "cli/command.h"
#include "cli/killed_training.h"
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

// A directory like others: a card, and what its source had beside the weights.
TEST_F(Train, WhatIsWrittenSaysWhatItIs) {
  scratch_.write("shape/generation_config.json", "{\"temperature\": 0.5}");
  const CommandResult made = train(kShape + "--steps 60 --validate-every 20 -o m --dtype f32");
  ASSERT_EQ(made.code, 0) << made.error;
  EXPECT_NE(made.out.find("perplexity"), std::string::npos) << made.out;
  const std::string card = read_text(scratch_ / "m" / "README.md");
  EXPECT_NE(card.find("trained from nothing on text"), std::string::npos) << card;
  EXPECT_EQ(card.find("base_model"), std::string::npos) << card;
  EXPECT_EQ(read_text(scratch_ / "m" / "generation_config.json"), "{\"temperature\": 0.5}");
  // Of what a teacher says no perplexity is told.
  const std::string more = "--from m --teacher m --held-out 0.1 -b 2 -l 32 --steps 4 --quantize int2:g32:half ";
  const CommandResult rounded = train(more + "-o r");
  ASSERT_EQ(rounded.code, 0) << rounded.error;
  EXPECT_EQ(rounded.out.find("perplexity"), std::string::npos) << rounded.out;
  EXPECT_NE(rounded.out.find("divergence from the teacher"), std::string::npos) << rounded.out;
  const std::string its_card = read_text(scratch_ / "r" / "README.md");
  EXPECT_NE(its_card.find("# m, quantized"), std::string::npos) << its_card;
  EXPECT_NE(its_card.find("`int2:g32:half`"), std::string::npos) << its_card;
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "r" / "generation_config.json"));
  // Where nothing was better than the beginning, that is told.
  const CommandResult worse = train(more + "--rate 5 --validate-every 2 --patience 2 -o w");
  ASSERT_EQ(worse.code, 0) << worse.error;
  EXPECT_NE(worse.out.find("no step was better"), std::string::npos) << worse.out;
  EXPECT_NE(read_text(scratch_ / "w" / "README.md").find("no step of it was better"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(read_text(scratch_ / "w" / "nibble_manifest.json"))["trained"]["kept_step"], 0);
  // Nothing is written of a run that went astray.
  const std::string fast = kShape + "--steps 6 --optimizer adamw --rate 10 --save-every 2 --validate-every ";
  const CommandResult astray = train(fast + "3 -o a");
  EXPECT_EQ(astray.code, 1) << astray.out;
  EXPECT_NE(astray.error.find("--rate"), std::string::npos) << astray.error;
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "a"));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "a.training"));  // which would refuse another rate
  // Behind all steps that is a warning.
  const CommandResult doubtful = train(fast + "100 -o a");
  ASSERT_EQ(doubtful.code, 0) << doubtful.error;
  EXPECT_NE(doubtful.error.find("warning: training has gone astray"), std::string::npos) << doubtful.error;
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "a"));
  EXPECT_NE(train(kShape + "--steps 2 -o q.onnx").error.find("onnx-genai"), std::string::npos);
}

TEST_F(Train, AKilledRunEndsInTheSameBytes) {
  expect_same_bytes_where_killed(scratch_,
                                 {"train", "--text", "text.txt", "--config", "shape", "--batch", "2", "--length", "16",
                                  "--steps", "12", "--save-every", "3", "--validate-every", "0", "-t", "1"},
                                 5);
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

// The decay of a delta rule is stored as its logarithm: a rate that is too high does not drive it to where there is
// none.
TEST_F(Train, NumbersStayWhereTheFileHasAPlaceForThem) {
  nlohmann::json config = nlohmann::json::parse(read_text(NIBBLE_SOURCE_DIR "/tests/data/tiny_qwen35/config.json"));
  (config.contains("text_config") ? config["text_config"] : config)["vocab_size"] = 300;
  scratch_.write("hybrid.json", config.dump());
  const CommandResult result = nibble_command(
      scratch_,
      "train --text text.txt --config hybrid.json --tokenizer shape --optimizer adamw --rate 1 --steps 60 "
      "-b 2 -l 16 --validate-every 0 -o h");
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(nibble_command(scratch_, "check h").code, 0);
}

TEST_F(Train, GoesOnFromAModelInEitherContainer) {
  ASSERT_EQ(train(kShape + "--steps 40 -o m --dtype f32").code, 0);
  ASSERT_EQ(nibble_command(scratch_, "convert m -o m.gguf").code, 0);
  const std::string more = "--held-out 0.1 --batch 2 --length 32 --steps 10 --validate-every 5 --patience 3 ";
  const CommandResult made = train("--from m " + more + "-o a --json");
  ASSERT_EQ(made.code, 0) << made.error;
  const auto json = made.json();
  EXPECT_EQ(json["validation"][0]["step"], 0);
  EXPECT_LT(json["validation"].back()["loss"].get<double>(), json["validation"][0]["loss"].get<double>());
  ASSERT_EQ(train("--from m.gguf " + more + "-o b").code, 0);
  // Rows lie in another order there, and sums of their products, too.
  const auto perplexity = [&](const std::string& model) {
    return nibble_command(scratch_, "eval " + model + " --text text.txt --context 32 -t 1 --json")
        .json()["perplexity"]
        .get<double>();
  };
  EXPECT_NEAR(perplexity("a") / perplexity("b"), 1, 1e-3);
  EXPECT_LT(perplexity("a"), 0.99 * perplexity("m"));
  EXPECT_NE(read_text(scratch_ / "a" / "nibble_manifest.json").find("\"from\""), std::string::npos);
}

TEST_F(Train, LearnsFromATeacher) {
  ASSERT_EQ(train(kShape + "--steps 60 -o m").code, 0);
  const CommandResult made = train(kShape + "--teacher m --steps 60 --validate-every 30 -o pupil --json");
  ASSERT_EQ(made.code, 0) << made.error;
  EXPECT_LT(made.json()["validation"].back()["loss"].get<double>(), 0.3 * made.json()["loss"][0]["loss"].get<double>());
  EXPECT_NE(made.error.find("for the teacher's weights"), std::string::npos) << made.error;
}

TEST_F(Train, StoresWhatItHasTrained) {
  ASSERT_EQ(train(kShape + "--steps 40 -o m --dtype f32").code, 0);
  const std::string rest = "--held-out 0.1 --batch 2 --length 32 --steps 20 --from m --teacher m ";
  const auto kl = [&](const std::string& model) {
    return nibble_command(scratch_, "eval " + model + " --against m --text text.txt --context 32 -t 1 --json")
        .json()["kl_mean"]
        .get<double>();
  };
  ASSERT_EQ(nibble_command(scratch_, "quantize m -f int2:g32:half --method rtn -o plain").code, 0);
  const CommandResult made = train(rest + "--quantize int2:g32:half --masters behind -o two -t 2");
  ASSERT_EQ(made.code, 0) << made.error;
  EXPECT_LT(kl("two"), 0.7 * kl("plain"));
  ASSERT_EQ(train(rest + "--quantize int2:g32:half --masters behind -o other -t 1").code, 0);
  for (const char* const file : {"model.safetensors", "nibble_manifest.json"})
    EXPECT_TRUE(read_text(scratch_ / "two" / file) == read_text(scratch_ / "other" / file)) << file;
  EXPECT_EQ(train("--held-out 0.1 --batch 2 --length 32 --steps 2 --from behind --quantize int2:g32:half -o on").code,
            0);
  for (const char* const inputs : {"a8:g32", "a8:token", "a8:static"}) {
    ASSERT_EQ(train(rest + "--quantize int8:row+" + inputs + " -o eight").code, 0) << inputs;
    EXPECT_NE(nibble_command(scratch_, "inspect eight").out.find(inputs), std::string::npos);
    EXPECT_EQ(nibble_command(scratch_, "check eight").code, 0) << inputs;
    EXPECT_LT(kl("eight"), 0.02) << inputs;
  }
  ASSERT_EQ(train(rest + "--quantize int4:g32 --kv q4_0 -o cached").code, 0);
  EXPECT_NE(read_text(scratch_ / "cached" / "README.md").find("as a `q4_0` cache has them"), std::string::npos);
  EXPECT_NE(train(rest + "--kv q5_0 -o x").code, 0);
  ASSERT_EQ(train(rest + "--quantize int4:g32 --head int8:row -o headed").code, 0);  // tied: the embedding, too
  const std::string listed = nibble_command(scratch_, "inspect headed --json").out;
  EXPECT_NE(listed.find("int8:row"), std::string::npos) << listed;
  ASSERT_EQ(nibble_command(scratch_, "convert headed -o carded").code, 0);
  EXPECT_NE(read_text(scratch_ / "carded" / "README.md").find("rounded to `int4:g32` meanwhile (lsq)"),
            std::string::npos);
  // What other containers hold exactly they get.
  ASSERT_EQ(train(rest + "--quantize q4_0 -o four").code, 0);
  ASSERT_EQ(nibble_command(scratch_, "convert four -o four.gguf").code, 0);
  EXPECT_EQ(nibble_command(scratch_, "check four.gguf --against four").code, 0);
  EXPECT_NE(nibble_command(scratch_, "inspect four.gguf").out.find("q4_0"), std::string::npos);
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
  std::ofstream(scratch_ / "short.txt") << "A word.";
  wrong("--config shape --batch 2 --length 32 --steps 2 --validation short.txt -o x",
        "held-out text is shorter than a row");
  wrong("--config shape --batch 2 --length 32 --held-out 0 --patience 3 -o x", "--patience");
  wrong(kShape + "-o x.gguf", "written to a directory");
  wrong("-o x", "either --config, a shape, or --from");
  wrong(kShape + "--from shape -o x", "either --config, a shape, or --from");
  wrong("--from shape --tokenizer shape -o x", "--tokenizer");
  wrong("--from shape --batch 600 --length 32 -o x", "the text is shorter than a batch");
  wrong("--from shape --held-out 0.1 --batch 2 --length 32 --temperature 2 -o x", "without --teacher");
  wrong(kShape + "--estimator lsq -o x", "without --quantize");
  wrong(kShape + "--quantize int4:g32:asym -o x", "its grids have more than a scale");
  wrong(kShape + "--quantize int4:g32+a8:g128:wide -o x", "inputs with wide columns");
  wrong(kShape + "--quantize f16 -o x", "leaves every matrix in floating point");
  wrong(kShape + "--quantize int4:g32 --estimator twn -o x", "twn takes ternary points");
  wrong(kShape + "--quantize int4:g32 --estimator nothing -o x", "there are lsq");
  ASSERT_EQ(nibble_command(scratch_,
                           "synth --hidden 32 --ffn 64 --layers 1 --heads 4 --kv-heads 2 --vocab 310 --context 64 "
                           "-o other")
                .code,
            0);
  wrong(kShape + "--teacher other -o x", "another vocabulary");
}

TEST_F(Train, ARunOfOtherSettingsIsNotGoneOnWith) {
  const std::string run = "train --text text.txt --config shape --batch 2 --length 16 --steps 12 --save-every 2 ";
  const TracedRun traced = run_traced(scratch_.path(), NIBBLE_BINARY,
                                      {"train", "--text", "text.txt", "--config", "shape", "--batch", "2", "--length",
                                       "16", "--steps", "12", "--save-every", "2", "-t", "1", "-o", "out"},
                                      {});
  ASSERT_EQ(traced.code, 0);
  ASSERT_TRUE(run_traced(scratch_.path(), NIBBLE_BINARY,
                         {"train", "--text", "text.txt", "--config", "shape", "--batch", "2", "--length", "16",
                          "--steps", "12", "--save-every", "2", "-t", "1", "-o", "half"},
                         {.kill_before = traced.changes / 2})
                  .killed);
  const CommandResult rounded = nibble_command(scratch_, run + "--quantize int4:g32 -o half");
  EXPECT_EQ(rounded.code, 2) << rounded.error;
  EXPECT_NE(rounded.error.find("scale rate"), std::string::npos) << rounded.error;
  // Another tokenizer is told as such.
  scratch_.write("shape/tokenizer_config.json", "{}");
  const CommandResult other = nibble_command(scratch_, run + "-o half");
  EXPECT_NE(other.code, 0);
  EXPECT_NE(other.error.find("tokenizer:"), std::string::npos) << other.error;
}

}  // namespace
}  // namespace nibble
