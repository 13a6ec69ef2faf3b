// SPDX-License-Identifier: Apache-2.0
#include "net/simplify.h"

#include "io/onnx/onnx_model.h"
#include "net/tiny_nets.h"

namespace nibble {
namespace {

template <class Op>
std::size_t count(const Net& net) {
  return static_cast<std::size_t>(std::ranges::count_if(
      net.graph.nodes, [](const Node& node) { return std::holds_alternative<Op>(node.operation); }));
}

std::size_t count(const Net& net, Unary::Kind kind) {
  return static_cast<std::size_t>(std::ranges::count_if(net.graph.nodes, [&](const Node& node) {
    const auto* const unary = std::get_if<Unary>(&node.operation);
    return unary != nullptr && unary->kind == kind;
  }));
}

class Simplify : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  }
};

TEST_F(Simplify, NormsSumsAndProductsOfChannelsGoIntoConvolutions) {
  Net net = open_net(tiny_net("classifier.onnx"), {});
  EXPECT_EQ(count<BatchNorm>(net), 1u);
  EXPECT_EQ(count<Binary>(net), 2u);
  EXPECT_EQ(fold_channels(net), 2u);  // the norm, and the sum; the product behind that in the next turn
  EXPECT_EQ(fold_channels(net), 1u);
  EXPECT_EQ(fold_channels(net), 0u);
  EXPECT_EQ(count<BatchNorm>(net) + count<Binary>(net), 0u);
  EXPECT_FALSE(net.weights.contains("c2.variance"));
}

TEST_F(Simplify, NormsBehindTransposedConvolutionsToo) {
  Net net = open_net(tiny_net("transposed.onnx"), {});
  EXPECT_EQ(fold_channels(net), 1u);
  EXPECT_EQ(count<BatchNorm>(net), 0u);
}

TEST_F(Simplify, ActivationsAreTakenForWhatTheyAre) {
  Net net = open_net(tiny_net("mobile.onnx"), {});
  EXPECT_EQ(find_activations(net), 2u);
  EXPECT_EQ(count(net, Unary::Kind::hard_swish), 1u);
  EXPECT_EQ(count<Silu>(net), 1u);
  EXPECT_EQ(count(net, Unary::Kind::clip), 1u);          // relu6 stays
  EXPECT_EQ(count(net, Unary::Kind::hard_sigmoid), 1u);  // of a gate that multiplies something else
}

TEST_F(Simplify, LayerNormsAreTakenForWhatTheyAre) {
  Net net = open_net(tiny_net("attention.onnx"), {});
  EXPECT_EQ(count<LayerNorm>(net), 1u);
  EXPECT_EQ(find_layer_norms(net), 1u);
  EXPECT_EQ(count<LayerNorm>(net), 2u);
}

TEST_F(Simplify, SumsOfCodesStayExact) {
  Net net = open_net(tiny_net("quantized_operators.onnx"), {});
  EXPECT_EQ(fold_channels(net), 0u);
}

}  // namespace
}  // namespace nibble
