// SPDX-License-Identifier: Apache-2.0
//
// Nets written as TensorFlow Lite against what LiteRT makes of the files (tools/lite_nets.py).
#include "net/tflite/tflite_export.h"

#include "io/onnx/onnx_model.h"
#include "io/tflite/tflite_codes.h"
#include "net/net_pen.h"
#include "net/quantize/quantize_net.h"
#include "net/tflite/tflite_net.h"
#include "net/tiny_nets.h"
#include "nibble/error.h"

namespace nibble {
namespace {

Net read_again(const TfliteModel& model) {
  const std::string bytes = serialize_tflite(model);
  return read_tflite_net(std::as_bytes(std::span(bytes)), "again.tflite", {});
}

std::vector<int> codes_of(const TfliteModel& model) {
  std::vector<int> codes;
  for (const TfliteOperator& op : model.operators) codes.push_back(op.code);
  return codes;
}

class TfliteExport : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_tflite()) GTEST_SKIP() << kTfliteMissing;
    if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  }
  // The classifier on its own input, turned in twelve ways.
  NetQuantization quantized(const NetQuantizeOptions& options) {
    const Net net = open_net(tiny_net("classifier.onnx"), {.simplifies = true});
    const std::map<std::string, NpyArray> arrays = tiny_arrays("classifier");
    const std::vector<float>& image = arrays.at("in/image").numbers;
    std::vector<NetSample> samples;
    for (std::size_t i = 0; i < 12; ++i) {
      std::vector<float>& numbers = samples.emplace_back().emplace_back();
      for (std::size_t j = 0; j < image.size(); ++j) numbers.push_back(image[(j + 7 * i) % image.size()]);
    }
    return quantize_net(net, samples, options, machine_);
  }
  std::string error_of(const Net& net) {
    try {
      require_tflite(net);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  Machine machine_{Isa::scalar, 2};
};

class WrittenTflite : public TfliteExport, public testing::WithParamInterface<const char*> {};

TEST_P(WrittenTflite, MakesWhatLiteRtMakesOfIt) {
  const Net net = open_net(tiny_net(std::string(GetParam()) + ".onnx"), {.simplifies = true});
  const Net again = read_again(spell_tflite(net, weight_codes_of(net)));
  std::map<std::string, NpyArray> arrays = tiny_arrays(GetParam());
  const std::map<std::string, NpyArray> made = tiny_arrays("lite/" + std::string(GetParam()));
  for (const auto& [name, array] : made) arrays.insert_or_assign(name, array);
  expect_outputs(again, run_tiny(again, arrays, nullptr), arrays);
  ASSERT_EQ(made.size(), net.outputs.size());
  ASSERT_EQ(again.inputs.size(), net.inputs.size());
  for (std::size_t i = 0; i < net.inputs.size(); ++i) {
    EXPECT_EQ(again.inputs[i].name, net.inputs[i].name);
    EXPECT_EQ(extents_of(again.graph.values[again.inputs[i].value]), extents_of(net.graph.values[net.inputs[i].value]));
  }
}

INSTANTIATE_TEST_SUITE_P(All, WrittenTflite,
                         testing::Values("classifier", "blocks_of_four_bits", "mobile_places", "quantized_pairs",
                                         "rows"),
                         [](const auto& one) { return std::string(one.param); });

TEST_F(TfliteExport, ComputesInCodesFromEndToEnd) {
  const NetQuantization made = quantized({.runtime = NetRuntime::tflite, .max_drop = 100});
  const TfliteModel model = spell_tflite(made.net, made.codes);
  using namespace tflite_code;
  EXPECT_EQ(codes_of(model), (std::vector<int>{kTranspose, kQuantize, kConvolution, kMaxPool, kConvolution, kTranspose,
                                               kReshape, kFullyConnected, kSoftmax, kDequantize}));
  for (const TfliteOperator& op : model.operators) {
    const TfliteTensor& y = model.tensors[static_cast<std::size_t>(op.outputs[0])];
    const bool is_float = op.code == kDequantize || &op == &model.operators.front();
    EXPECT_EQ(y.type, is_float ? TfliteType::f32 : TfliteType::i8) << y.name;
    EXPECT_LE(y.scales.size(), 1u);
    if (op.code != kConvolution && op.code != kFullyConnected) continue;
    const TfliteTensor &x = model.tensors[static_cast<std::size_t>(op.inputs[0])],
                       &w = model.tensors[static_cast<std::size_t>(op.inputs[1])],
                       &b = model.tensors[static_cast<std::size_t>(op.inputs[2])];
    // A scale for each output, no zeros, no -128; the bias on the scale of the sums.
    EXPECT_EQ(w.type, TfliteType::i8);
    EXPECT_EQ(w.scales.size(), w.shape[0]);
    for (const std::int64_t zero : w.zeros) EXPECT_EQ(zero, 0);
    for (const std::byte code : w.bytes) EXPECT_NE(code, std::byte{128});
    ASSERT_EQ(b.type, TfliteType::i32);
    ASSERT_EQ(b.scales.size(), w.scales.size());
    for (std::size_t i = 0; i < b.scales.size(); ++i) EXPECT_EQ(b.scales[i], w.scales[i] * x.scales[0]);
    EXPECT_EQ(version_of(model, op), op.code == kConvolution ? 3 : 4);
  }
  EXPECT_EQ(model.operators[2].options.activation, TfliteActivation::relu);
  const TfliteTensor& share = model.tensors[static_cast<std::size_t>(model.operators[8].outputs[0])];
  EXPECT_EQ(share.scales, std::vector<float>{1.0F / 256});
  EXPECT_EQ(share.zeros, std::vector<std::int64_t>{-128});
}

TEST_F(TfliteExport, QuantizedNetMakesWhatLiteRtMakesOfIt) {
  const NetQuantization made = quantized({.runtime = NetRuntime::tflite, .max_drop = 100});
  const Net again = read_again(spell_tflite(made.net, made.codes));
  const std::map<std::string, NpyArray> arrays = tiny_arrays("lite/classifier_codes");
  const std::vector<float> shares = run_tiny(again, arrays, nullptr).at(0);
  const std::vector<float>& expected = arrays.at("out/" + again.outputs[0].name).numbers;
  ASSERT_EQ(shares.size(), expected.size());
  for (std::size_t i = 0; i < shares.size(); ++i) EXPECT_NEAR(shares[i], expected[i], 1.0F / 256) << i;
}

TEST_F(TfliteExport, PortsCanBeCodes) {
  const NetQuantization made = quantized({.runtime = NetRuntime::tflite, .max_drop = 100});
  const TfliteModel model = spell_tflite(made.net, made.codes, {.has_code_ports = true});
  EXPECT_EQ(model.tensors[static_cast<std::size_t>(model.inputs[0])].type, TfliteType::i8);
  EXPECT_EQ(model.tensors[static_cast<std::size_t>(model.outputs[0])].type, TfliteType::i8);
  for (const int code : codes_of(model))
    EXPECT_TRUE(code != tflite_code::kQuantize && code != tflite_code::kDequantize);
}

TEST_F(TfliteExport, WhatStaysInFloatStandsBetweenDequantizeAndQuantize) {
  const NetQuantization made = quantized({.runtime = NetRuntime::tflite, .max_drop = 100, .exclude = {"v3_0", "c9*"}});
  const TfliteModel model = spell_tflite(made.net, made.codes);
  const std::vector<int> codes = codes_of(model);
  EXPECT_GT(std::ranges::count(codes, tflite_code::kDequantize), 1);
  const Net again = read_again(model);
  const auto arrays = tiny_arrays("classifier");
  const std::vector<float> is = run_tiny(again, arrays, nullptr).at(0), was = run_tiny(made.net, arrays, nullptr).at(0);
  for (std::size_t i = 0; i < is.size(); ++i) EXPECT_NEAR(is[i], was[i], 1.0F / 256);
}

TEST_F(TfliteExport, RefusesByNameBeforeWorkIsDone) {
  EXPECT_EQ(error_of(open_net(tiny_net("classifier.onnx"), {})), "");
  const std::string error = error_of(open_net(tiny_net("recurrent.onnx"), {}));
  EXPECT_NE(error.find("lstm: this operation (v3)"), std::string::npos) << error;
  EXPECT_NE(error.find("gru: this operation (v1_0, v2_0)"), std::string::npos) << error;
  EXPECT_NE(error.find("ONNX has one"), std::string::npos);
}

TEST_F(TfliteExport, SameBytesForTheSameNet) {
  const Net net = open_net(tiny_net("mobile_places.onnx"), {.simplifies = true});
  EXPECT_EQ(serialize_tflite(spell_tflite(net)), serialize_tflite(spell_tflite(net)));
}

}  // namespace
}  // namespace nibble
