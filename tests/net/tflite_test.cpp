// SPDX-License-Identifier: Apache-2.0
//
// Tiny nets of TensorFlow Lite against LiteRT (tools/tiny_tflite.py), in f32 and, exactly, in codes of 8 bits.
#include "net/tflite/tflite_net.h"

#include "io/tflite/tflite_model.h"
#include "net/tiny_nets.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class TinyTflite : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!has_tflite()) GTEST_SKIP() << kTfliteMissing;
  }
};

TEST_P(TinyTflite, MakesWhatLiteRtMakes) {
  for (const bool simplifies : {false, true}) {
    const Net net = open_net(tiny_net(std::string(GetParam()) + ".tflite"), {.simplifies = simplifies});
    const auto arrays = tiny_arrays(GetParam());
    ThreadPool pool(2);
    expect_outputs(net, run_tiny(net, arrays, &pool), arrays);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyTflite, testing::Values("codes", "floats"),
                         [](const auto& one) { return std::string(one.param); });

class Tflite : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_tflite()) GTEST_SKIP() << kTfliteMissing;
    const MappedFile file(tiny_net("codes.tflite"));
    bytes_.assign(file.bytes().begin(), file.bytes().end());
  }
  std::string error_of(const NetOptions& options = {}) {
    try {
      read_tflite_net(bytes_, "m.tflite", options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  std::vector<std::byte> bytes_;
};

TEST_F(Tflite, KeepsTheOrderOfTheFileOutside) {
  const Net net = open_net(tiny_net("codes.tflite"), {});
  ASSERT_EQ(net.inputs.size(), 1u);
  EXPECT_EQ(net.inputs[0].type, NumberType::i8);
  EXPECT_EQ(extents_of(net.graph.values[net.inputs[0].value]), (Extents{1, 8, 7, 3}));
  EXPECT_EQ(extents_of(net.graph.values[net.outputs[2].value]), (Extents{1, 2, 2, 4}));
}

TEST_F(Tflite, DefectsAreNamed) {
  EXPECT_EQ(error_of(), "");
  bytes_.resize(bytes_.size() / 2);
  EXPECT_EQ(error_of(), "m.tflite: is a damaged TensorFlow Lite model");
  bytes_.resize(4);
  EXPECT_EQ(error_of(), "m.tflite: is no TensorFlow Lite model");
}

TEST_F(Tflite, InputsThatAreNotThere) {
  EXPECT_EQ(error_of({.shapes = {{"x", {1}}}}), "m.tflite: has no input 'x'");
  EXPECT_EQ(error_of({.shapes = {{"image", {2, 8, 7, 3}}}}),
            "m.tflite: input 'image': should have the shape [1, 8, 7, 3]; asked for was [2, 8, 7, 3]");
}

}  // namespace
}  // namespace nibble
