// SPDX-License-Identifier: Apache-2.0
//
// Small nets on the command line.
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "io/npy/npy_file.h"
#include "io/onnx/onnx_model.h"

namespace nibble {
namespace {

class Nets : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  }
  CommandResult run(const std::string& arguments, int code) {
    CommandResult result = nibble_command(scratch_, arguments);
    EXPECT_EQ(result.code, code) << arguments << '\n' << result.error;
    return result;
  }
  static std::string net(const std::string& name) { return NIBBLE_SOURCE_DIR "/tests/data/nets/" + name; }
  // Inputs of a fixture as files of their own.
  void write_input(const std::string& fixture, const std::string& name, const std::string& file) {
    const std::string bytes = read_text(net(fixture));
    for (const auto& [key, array] : parse_npz(std::as_bytes(std::span(bytes)), fixture))
      if (key == "in/" + name) scratch_.write(file, serialize_npy(array));
  }
  ScratchDirectory scratch_;
};

TEST_F(Nets, InspectShowsOperationsAndWhatTheyCost) {
  const auto json = nlohmann::json::parse(run("inspect " + net("classifier.onnx") + " --json", 0).out);
  EXPECT_EQ(json["container"], "ONNX");
  EXPECT_EQ(json["inputs"][0]["shape"], (std::vector<int>{2, 3, 8, 8}));
  EXPECT_EQ(json["kinds"]["convolution"], 2);
  EXPECT_EQ(json["operations"][0]["parameters"], 4 * 27 + 4);
  EXPECT_EQ(json["operations"][0]["multiply_adds"], 2 * 4 * 64 * 27);
  EXPECT_NE(run("inspect " + net("classifier.onnx"), 0).out.find("batch_norm"), std::string::npos);
  EXPECT_EQ(run("inspect " + net("classifier.onnx") + " --simplify", 0).out.find("batch_norm"), std::string::npos);
}

TEST_F(Nets, RunWritesWhatTheNetMakes) {
  write_input("classifier.npz", "image", "image.npy");
  const CommandResult text = run("run " + net("classifier.onnx") + " --input image.npy -o y.npy --reference", 0);
  EXPECT_NE(text.error.find("reference arithmetic"), std::string::npos);
  const std::string bytes = read_text(scratch_ / "y.npy");
  EXPECT_EQ(parse_npy(std::as_bytes(std::span(bytes)), "y").shape, (Shape{2, 5}));
  const auto json =
      nlohmann::json::parse(run("run " + net("classifier.onnx") + " --input image=image.npy --json", 0).out);
  EXPECT_EQ(json["arithmetic"], "compiled");
  EXPECT_EQ(json["outputs"][0]["largest"].size(), 5u);
}

TEST_F(Nets, BenchMeasuresRunsOfANet) {
  const auto json =
      nlohmann::json::parse(run("bench " + net("classifier.onnx") + " --seconds 0 -t 1 --limits --json", 0).out);
  EXPECT_EQ(json["runs"], 10);
  EXPECT_EQ(json["steps"]["convolution"], 3);
  EXPECT_GT(json["share_of_limit"], 0);
  EXPECT_LE(json["low_seconds"], json["median_seconds"]);
  EXPECT_NE(run("bench " + net("classifier.onnx") + " --seconds 0", 0).out.find("multiply-adds"), std::string::npos);
  EXPECT_NE(run("bench " + net("classifier.onnx") + " -p 5", 2).error.find("--prompt"), std::string::npos);
  EXPECT_NE(run("bench " NIBBLE_SOURCE_DIR "/tests/data/tale-4M --seconds 1", 2).error.find("--seconds"),
            std::string::npos);
}

TEST_F(Nets, WhatIsMissingOrMeaningless) {
  write_input("classifier.npz", "image", "image.npy");
  const std::string classifier = net("classifier.onnx");
  EXPECT_NE(run("run " + classifier, 2).error.find("--input"), std::string::npos);
  EXPECT_NE(run("run " + classifier + " --input image.npy -p Hello", 2).error.find("--prompt"), std::string::npos);
  EXPECT_NE(run("run " + classifier + " --input image.npy -o y.txt", 2).error.find(".npy or .npz"), std::string::npos);
  EXPECT_NE(run("run " + classifier + " --input image.npy -o image.npy", 2).error.find("--input"), std::string::npos);
  scratch_.write("mine.npy", "notes");
  EXPECT_NE(run("run " + classifier + " --input image.npy -o mine.npy", 1).error.find("holds no arrays"),
            std::string::npos);
  EXPECT_EQ(read_text(scratch_ / "mine.npy"), "notes");
  EXPECT_NE(run("run " + net("attention.onnx") + " --input image.npy", 1).error.find("NAME=FILE"), std::string::npos);
  EXPECT_NE(run("run " + net("upsampled.onnx") + " --input image.npy", 2).error.find("should have the shape"),
            std::string::npos);
  EXPECT_NE(run("inspect " + classifier + " --stats", 2).error.find("--stats"), std::string::npos);
  EXPECT_NE(run("inspect " + classifier + " --shape z=1", 2).error.find("has no input 'z'"), std::string::npos);
  EXPECT_NE(run("inspect " + classifier + " --shape image=1,x", 2).error.find("NAME=1,3,224,224"), std::string::npos);
  EXPECT_NE(run("inspect " NIBBLE_SOURCE_DIR "/tests/data/tale-4M --simplify", 2).error.find("--simplify"),
            std::string::npos);
}

// Half of the input, and a quarter of it: errors are (x / 2)^2 and (3 x / 4)^2, in the same order.
TEST_F(Nets, EvalJudgesByOrderWhatSaysItsInputAgain) {
  const auto times = [](float factor) {
    OnnxModel model;
    model.opset = 13;
    model.ir_version = 8;
    model.nodes = {{"n", "Mul", "", {"x", "c"}, {"y"}, {}}};
    model.initializers = {{"c", OnnxType::f32, {1}, {reinterpret_cast<const char*>(&factor), sizeof factor}}};
    model.inputs = {{"x", OnnxType::f32, {std::uint64_t{1}, std::uint64_t{3}}}};
    model.outputs = {{"y", OnnxType::f32, {std::uint64_t{1}, std::uint64_t{3}}}};
    return serialize_onnx(model);
  };
  scratch_.write("half.onnx", times(0.5F));
  scratch_.write("quarter.onnx", times(0.25F));
  scratch_.write("x.npy", serialize_npy({{4, 3}, {1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4}}));
  scratch_.write("y.txt", "0\n1\n0\n1\n");
  const std::string eval = "eval quarter.onnx --against half.onnx --data x.npy";
  const auto json = nlohmann::json::parse(run(eval + " --labels y.txt --json", 0).out);
  EXPECT_EQ(json["auc"]["original"], 0.75);
  EXPECT_EQ(json["auc"]["candidate"], 0.75);
  EXPECT_NEAR(json["error_rank_correlation"].get<double>(), 1, 1e-12);
  EXPECT_FALSE(json.contains("top1"));
  const std::string text = run(eval, 0).out;
  EXPECT_NE(text.find("fails in the original's order: rank correlation 1.00000"), std::string::npos) << text;
  EXPECT_EQ(text.find("area under the curve"), std::string::npos);
}

// Three candidates of two kinds, the first of which is nothing; the judged file's boxes are 5 % larger.
TEST_F(Nets, EvalHoldsBoxesAgainstThoseThatAreRight) {
  const auto detector = [](float factor) {
    const auto numbers = [](const std::vector<float>& of) {
      return std::string(reinterpret_cast<const char*>(of.data()), of.size() * sizeof(float));
    };
    OnnxModel model;
    model.opset = 13;
    model.ir_version = 8;
    model.nodes = {{"s", "Mul", "", {"x", "shares"}, {"scores"}, {}}, {"p", "Mul", "", {"x", "sizes"}, {"boxes"}, {}}};
    std::vector<float> sizes = {0, 0, 10, 10, 40, 40, 50, 50, 0, 20, 8, 28};
    for (float& one : sizes) one *= factor;
    model.initializers = {{"shares", OnnxType::f32, {1, 3, 2}, numbers({0.1F, 0.9F, 0.4F, 0.6F, 0.8F, 0.2F})},
                          {"sizes", OnnxType::f32, {1, 3, 4}, numbers(sizes)}};
    model.inputs = {{"x", OnnxType::f32, {std::uint64_t{1}, std::uint64_t{1}, std::uint64_t{1}}}};
    model.outputs = {{"boxes", OnnxType::f32, {std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{4}}},
                     {"scores", OnnxType::f32, {std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{2}}}};
    return serialize_onnx(model);
  };
  scratch_.write("a.onnx", detector(1));
  scratch_.write("b.onnx", detector(1.05F));
  scratch_.write("x.npy", serialize_npy({{2, 1, 1}, {1, 1}}));
  // Of the first sample both boxes, of the second the surer one.
  scratch_.write("truth.npy", serialize_npy({{3, 6}, {0, 1, 0, 0, 10, 10, 0, 1, 40, 40, 50, 50, 1, 1, 0, 0, 10, 10}}));
  const std::string eval = "eval b.onnx --against a.onnx --data x.npy --detections corners";
  const auto json = nlohmann::json::parse(run(eval + " --truth truth.npy --json", 0).out);
  EXPECT_EQ(json["found_by_original"], 4);
  EXPECT_EQ(json["found"], 4);
  EXPECT_EQ(json["original"]["map50"], 1.0);  // three right ones stand before the wrong one
  EXPECT_LT(json["candidate"]["map"].get<double>(), json["original"]["map"].get<double>());
  EXPECT_LT(json["same50"].get<double>(), 0.6);  // 42 .. 52.5 overlaps 40 .. 50 by less than a half
  EXPECT_EQ(json["same90"].get<double>(), json["same50"].get<double>());  // the others by 0.907
  const std::string text = run(eval, 0).out;
  EXPECT_NE(text.find("boxes with a score of 1/2: 4 by the original, 4 by this"), std::string::npos) << text;
  EXPECT_NE(run(eval + " --labels y.txt", 2).error.find("--labels"), std::string::npos);
  EXPECT_NE(run("eval b.onnx --against a.onnx --data x.npy --truth truth.npy", 2).error.find("without --detections"),
            std::string::npos);
  // Boxes that no detection can be right by.
  const auto refusal = [&](std::vector<float> second) {
    std::vector<float> boxes = {0, 1, 0, 0, 10, 10};
    boxes.insert(boxes.end(), second.begin(), second.end());
    scratch_.write("odd.npy", serialize_npy({{2, 6}, boxes}));
    return run(eval + " --truth odd.npy", 1).error;
  };
  EXPECT_NE(refusal({0, 2, 40, 40, 50, 50})
                .find("odd.npy: box 2 is of a kind that the detector does not find, which are "
                      "1 to 1: 2"),
            std::string::npos);
  EXPECT_NE(refusal({0, 0, 40, 40, 50, 50}).find("box 2 is of a kind"), std::string::npos);
  EXPECT_NE(refusal({0, 1, 50, 40, 40, 50})
                .find("odd.npy: box 2 has no area from its first corner, left and above, to "
                      "its second: 50, 40, 40, 50"),
            std::string::npos);
  const std::string classifier = net("classifier.onnx");
  write_input("classifier.npz", "image", "image.npy");
  EXPECT_NE(run("eval " + classifier + " --against " + classifier + " --data image.npy --detections corners", 1)
                .error.find("is no detector whose two outputs"),
            std::string::npos);
}

TEST_F(Nets, CheckFindsDamage) {
  EXPECT_NE(run("check " + net("mobile.onnx"), 0).out.find("sound: "), std::string::npos);
  std::string bytes = read_text(net("mobile.onnx"));
  scratch_.write("short.onnx", bytes.substr(0, bytes.size() / 2));
  EXPECT_NE(run("check short.onnx", 1).error.find("damaged"), std::string::npos);
  OnnxModel model;
  model.nodes = {{"n", "Add", "", {"x", "c"}, {"y"}, {}}};
  model.initializers = {{"c", OnnxType::f32, {1}, std::string("\0\0\xc0\x7f", 4)}};
  model.inputs = {{"x", OnnxType::f32, {std::uint64_t{1}}}};
  model.outputs = {{"y", OnnxType::f32, {std::uint64_t{1}}}};
  scratch_.write("nan.onnx", serialize_onnx(model));
  EXPECT_NE(run("check nan.onnx", 1).error.find("1 weights are not finite"), std::string::npos);
}

}  // namespace
}  // namespace nibble
