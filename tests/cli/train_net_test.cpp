// SPDX-License-Identifier: Apache-2.0
//
// `nibble train-net`: what is written and said, goes on where it was, what is refused.
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "io/npy/npy_file.h"
#include "io/onnx/onnx_model.h"

namespace nibble {
namespace {

OnnxInitializer numbers(const std::string& name, std::vector<std::uint64_t> dims) {
  std::size_t count = 1;
  for (const std::uint64_t dim : dims) count *= dim;
  std::vector<float> made;
  for (std::size_t i = 0; i < count; ++i) made.push_back(static_cast<float>((i * 7919 + 13 * i * i) % 64) / 64 - 0.5F);
  return {
      name, OnnxType::f32, std::move(dims), {reinterpret_cast<const char*>(made.data()), made.size() * sizeof(float)}};
}

// Two convolutions and a matrix: pictures of 6 x 6, two classes.
OnnxModel small_model() {
  OnnxModel model;
  model.opset = 13;
  model.ir_version = 8;
  model.graph_name = "small";
  model.inputs = {{"x", OnnxType::f32, {std::uint64_t{1}, std::uint64_t{1}, std::uint64_t{6}, std::uint64_t{6}}}};
  model.outputs = {{"y", OnnxType::f32, {std::uint64_t{1}, std::uint64_t{2}}}};
  model.initializers = {numbers("a", {4, 1, 3, 3}), numbers("b", {4, 4, 3, 3}), numbers("c", {2, 4}),
                        numbers("d", {2})};
  model.nodes = {{"", "Conv", "", {"x", "a"}, {"h0"}, {}},
                 {"", "Relu", "", {"h0"}, {"h1"}, {}},
                 {"", "Conv", "", {"h1", "b"}, {"h2"}, {}},
                 {"", "Relu", "", {"h2"}, {"h3"}, {}},
                 {"", "GlobalAveragePool", "", {"h3"}, {"h4"}, {}},
                 {"", "Flatten", "", {"h4"}, {"h5"}, {}},
                 {"", "Gemm", "", {"h5", "c", "d"}, {"y"}, {{"transB", std::int64_t{1}}}}};
  return model;
}

class TrainNetCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
    scratch_.write("net.onnx", serialize_onnx(small_model()));
    // A line that lies, or one that stands.
    NpyArray samples{{40, 1, 6, 6}, {}};
    std::string labels;
    for (std::size_t i = 0; i < 40; ++i) {
      for (std::size_t k = 0; k < 36; ++k)
        samples.numbers.push_back((i % 2 == 0 ? k / 6 : k % 6) == i / 2 % 6 ? 1.0F
                                                                            : static_cast<float>((i + k) % 3) / 16);
      labels += i % 2 == 0 ? "0\n" : "1\n";
    }
    scratch_.write("x.npy", serialize_npy(samples));
    scratch_.write("y.txt", labels);
  }
  CommandResult run(const std::string& arguments, int code) {
    CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    return result;
  }
  static std::string train(const std::string& arguments) {
    return "train-net net.onnx --data x.npy --batch 5 --held-out 0.25 " + arguments;
  }

  ScratchDirectory scratch_;
};

TEST_F(TrainNetCommand, WritesWhatHasLearnt) {
  const auto json =
      nlohmann::json::parse(run(train("--labels y.txt --anew --epochs 8 -q ternary -o t.onnx --json"), 0).out);
  EXPECT_EQ(json["examples"], 30);
  EXPECT_EQ(json["held_out"], 10);
  EXPECT_EQ(json["steps"], 48);
  EXPECT_EQ(json["losses"].size(), 8u);
  EXPECT_EQ(json["judgements"].size(), 9u);
  EXPECT_LT(json["losses"][7].get<double>(), json["losses"][0].get<double>());
  ASSERT_EQ(json["parts"].size(), 3u);
  EXPECT_EQ(json["parts"][0]["format"], "int8");
  EXPECT_EQ(json["parts"][1]["format"], "ternary");
  EXPECT_EQ(json["files"][0]["bytes"], std::filesystem::file_size(scratch_ / "t.onnx"));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "t.onnx.training"));
  run("eval t.onnx --against net.onnx --data x.npy --labels y.txt", 0);
  // The same bytes by any number of threads, and without --json.
  const std::string bytes = read_text(scratch_ / "t.onnx");
  const CommandResult text = run(train("--labels y.txt --anew --epochs 8 -q ternary -o t.onnx -t 1"), 0);
  EXPECT_EQ(read_text(scratch_ / "t.onnx"), bytes);
  EXPECT_NE(text.out.find("30 examples, 10 held out; 48 steps"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("ternary"), std::string::npos);
}

TEST_F(TrainNetCommand, MayHoldNothingOut) {
  const std::string line = "train-net net.onnx --data x.npy --labels y.txt --batch 5 --epochs 1 --held-out 0 --json ";
  const auto json = nlohmann::json::parse(run(line + "-o whole.onnx", 0).out);
  EXPECT_EQ(json["examples"], 40);
  EXPECT_EQ(json["held_out"], 0);
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "whole.onnx"));
}

// Without labels it goes on deciding as it did.
TEST_F(TrainNetCommand, LearnsFromItselfWithoutLabels) {
  const auto json = nlohmann::json::parse(run(train("--epochs 2 -q int4 -o f.onnx --qdq --json"), 0).out);
  EXPECT_EQ(json["parts"][0]["format"], "int4");
  EXPECT_GE(json["verdict"]["agreement"]["value"].get<double>(), 0.6);
}

// A rate that ruins the net: what it began with is written, and said.
TEST_F(TrainNetCommand, KeepsWhatItBeganWithWhereNoPassDecidesBetter) {
  run(train("--labels y.txt --anew --epochs 30 --rate 0.01 -o good.onnx"), 0);
  const std::string from = "train-net good.onnx --data x.npy --batch 5 --held-out 0.25 --labels y.txt ";
  const CommandResult ruined = run(from + "--epochs 2 --rate 5 -o ruined.onnx", 0);
  EXPECT_NE(ruined.error.find("no pass decided better on held-out examples than what the run began with: 10 of 10"),
            std::string::npos)
      << ruined.error;
  EXPECT_NE(ruined.error.find("what it began with is written"), std::string::npos) << ruined.error;
  EXPECT_NE(ruined.out.find("written: what it began with, 10 of 10 right"), std::string::npos) << ruined.out;
  const auto json = nlohmann::json::parse(run(from + "--epochs 2 --rate 5 -q int4 -o four.onnx --json", 0).out);
  EXPECT_EQ(json["kept"]["epoch"], 0);
  EXPECT_EQ(json["kept"]["right"], 10);
  EXPECT_EQ(json["parts"][0]["format"], "int4");
  // Random weights are no candidate.
  const CommandResult anew = run(train("--labels y.txt --anew --epochs 1 --rate 5 -o anew.onnx"), 0);
  EXPECT_NE(anew.out.find("written: the weights behind pass 1"), std::string::npos) << anew.out;
}

// What an output cannot hold shows before anything is learnt.
TEST_F(TrainNetCommand, JudgesOutputsBeforeItLearns) {
  const auto error = [&](const std::string& arguments, int code) {
    return run(train("--labels y.txt --epochs 100000 ") + arguments, code).error;
  };
  EXPECT_NE(error("-q int4 -o o.onnx --to onnx,tflite", 2).find("holds weights in codes of 8 bits: train them as int8"),
            std::string::npos);
  EXPECT_NE(error("-q binary --ends int8 -o o.c", 2).find("C holds weights in codes of 8 bits"), std::string::npos);
  EXPECT_NE(error("-q int8 --signs -o o --to tflite,c", 1).find("is not written to TensorFlow Lite"),
            std::string::npos);
  for (const char* const file : {"o.onnx", "o.tflite", "o.c", "o.onnx.training", "o.tflite.training"})
    EXPECT_FALSE(std::filesystem::exists(scratch_ / file)) << file;
  const CommandResult in_c = run(train("--labels y.txt --epochs 1 -q int8 -o o --to tflite,c"), 0);
  EXPECT_NE(in_c.error.find("in C weights that floats are multiplied with stand as the f32 numbers"), std::string::npos)
      << in_c.error;
}

TEST_F(TrainNetCommand, RefusesWhatCannotBe) {
  const auto error = [&](const std::string& arguments, int code) { return run(arguments, code).error; };
  EXPECT_NE(error(train("--anew -o o.onnx"), 2).find("learns from --labels, or from a --teacher"), std::string::npos);
  EXPECT_NE(error(train("--labels y.txt -q int3 -o o.onnx"), 2).find("int8, int4, int2, ternary or binary"),
            std::string::npos);
  EXPECT_NE(error(train("--labels y.txt --ends int8 -o o.onnx"), 2).find("without --quantize"), std::string::npos);
  EXPECT_NE(error(train("--labels y.txt -o net.onnx"), 2).find("net.onnx"), std::string::npos);
  EXPECT_NE(error(train("--labels y.txt --rate 0.1 --relative-rate 0.1 -o o.onnx"), 2).find("exclude each other"),
            std::string::npos);
  scratch_.write("bad.txt", "0\n1\n");
  EXPECT_NE(error(train("--labels bad.txt -o o.onnx"), 1).find("has 2 labels for 40 samples"), std::string::npos);
  EXPECT_NE(error("train-net net.onnx --data x.npy --labels y.txt --batch 50 -o o.onnx", 1)
                .find("fewer examples than a batch takes"),
            std::string::npos);
  EXPECT_NE(error("train-net " NIBBLE_SOURCE_DIR "/tests/data/nets/recurrent.onnx --data x.npy -q int4 -o o.onnx", 1)
                .find("has neither convolutions nor matrices of weights that could be rounded"),
            std::string::npos);
  EXPECT_NE(error("train-net models/fable-5M --data x.npy -o o.onnx", 2).find("is no net"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "o.onnx"));
}

}  // namespace
}  // namespace nibble
