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
