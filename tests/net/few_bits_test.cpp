// SPDX-License-Identifier: Apache-2.0
//
// Binary and ternary weights in ONNX: a bit or two each, which standard operators take apart.
#include <cmath>

#include "io/onnx/onnx_model.h"
#include "net/net_pen.h"
#include "net/onnx/onnx_export.h"
#include "net/onnx/onnx_net.h"
#include "net/quantize/weight_rounding.h"
#include "net/run_program.h"
#include "net/tiny_nets.h"

namespace nibble {
namespace {

WeightCodes drawn_codes(unsigned bits, std::size_t rows, std::size_t cols) {
  WeightCodes codes{bits, rows, {}, {}};
  const std::vector<float> numbers = normal_numbers(rows * cols, bits);
  for (const float number : numbers)
    codes.codes.push_back(bits == 2 && std::fabs(number) < 0.5F ? 0 : number < 0 ? -1 : 1);
  for (std::size_t row = 0; row < rows; ++row) codes.scales.push_back(0.1F + 0.01F * static_cast<float>(row));
  return codes;
}

// A convolution of 7 x 27 weights and a matrix of 5 x 63: no whole bytes.
class FewBitsTest : public testing::TestWithParam<unsigned> {
 protected:
  FewBitsTest() {
    NetPen pen;
    NetValue h = pen.input("x", NumberType::f32, {1, 3, 5, 5});
    codes_["conv"] = drawn_codes(GetParam(), 7, 27);
    codes_["matrix"] = drawn_codes(GetParam(), 5, 63);
    for (const auto& [part, codes] : codes_) pen.put(part, numbers_of(codes));
    h = pen.apply(Convolution{"conv", false, 7, 1, Window{{3, 3}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}}, {h});
    Linear op;
    op.part = "matrix";
    op.rows = 5;
    pen.output("y", pen.apply(op, {pen.reshape(h, Extents{1, 63})}));
    net_ = std::move(pen).finish();
  }
  NetCodes codes_;
  Net net_;
};

TEST_P(FewBitsTest, AreStoredSoAndReadAgain) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const OnnxModel model = spell_onnx(net_, codes_);
  EXPECT_EQ(model.opset, 13);
  std::size_t stored = 0;
  for (const OnnxInitializer& one : model.initializers)
    if (one.type == OnnxType::u8) stored += one.bytes.size();
  EXPECT_EQ(stored, (7 * 27 * GetParam() + 7) / 8 + (5 * 63 * GetParam() + 7) / 8);
  for (const OnnxNode& node : model.nodes) EXPECT_EQ(node.domain, "");
  const std::string bytes = serialize_onnx(model);
  const Net read = read_onnx_net(std::as_bytes(std::span(bytes)), "few.onnx", {});
  const std::vector<std::vector<float>> given = {normal_numbers(75, 3)};
  EXPECT_TRUE(same_bits(evaluate(read, given, nullptr)[0], evaluate(net_, given, nullptr)[0]));
  // What is taken apart is known when the file is read.
  for (const Node& node : read.graph.nodes) EXPECT_FALSE(std::holds_alternative<Binary>(node.operation));
}

TEST_P(FewBitsTest, AreStoredAsInt4WhereThatIsAskedFor) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const OnnxModel model = spell_onnx(net_, codes_, FewBits::int4);
  EXPECT_EQ(model.opset, 21);
  std::size_t dequantized = 0;
  for (const OnnxNode& node : model.nodes) dequantized += node.op == "DequantizeLinear" ? 1 : 0;
  EXPECT_EQ(dequantized, 2u);
  const std::string bytes = serialize_onnx(model);
  const Net read = read_onnx_net(std::as_bytes(std::span(bytes)), "few.onnx", {});
  const std::vector<std::vector<float>> given = {normal_numbers(75, 3)};
  EXPECT_TRUE(same_bits(evaluate(read, given, nullptr)[0], evaluate(net_, given, nullptr)[0]));
}

INSTANTIATE_TEST_SUITE_P(BitsAndTwo, FewBitsTest, testing::Values(1u, 2u));

}  // namespace
}  // namespace nibble
