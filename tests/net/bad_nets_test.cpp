// SPDX-License-Identifier: Apache-2.0
//
// One defect a model, and what is said of it.
#include <fstream>

#include "base/scratch_directory.h"
#include "io/onnx/onnx_model.h"
#include "net/onnx/onnx_net.h"
#include "net/tiny_nets.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class BadNet : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
    model_.opset = 13;
    model_.inputs = {{"x", OnnxType::f32, {std::uint64_t{1}, std::uint64_t{4}}}};
    model_.outputs = {{"y", OnnxType::f32, {}}};
    model_.nodes = {{"n", "Relu", "", {"x"}, {"y"}, {}}};
  }
  void expect(ErrorKind kind, const std::string& message, const NetOptions& options = {}) {
    const std::string bytes = serialize_onnx(model_);
    try {
      read_onnx_net(std::as_bytes(std::span(bytes)), "m.onnx", options);
      FAIL() << "was read";
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()), message);
      EXPECT_EQ(error.kind(), kind);
    }
  }
  void constant(const std::string& name, OnnxType type, std::vector<std::uint64_t> dims, std::string bytes) {
    model_.initializers.push_back({name, type, std::move(dims), std::move(bytes)});
  }
  OnnxModel model_;
};

TEST_F(BadNet, UnknownOperatorsAreNamedAllAtOnce) {
  model_.nodes = {{"a", "NonZero", "", {"x"}, {"p"}, {}},
                  {"b", "Relu", "", {"x"}, {"y"}, {}},
                  {"", "NonZero", "", {"x"}, {"q"}, {}},
                  {"c", "FusedConv", "com.microsoft", {"x"}, {"r"}, {}}};
  expect(ErrorKind::unsupported,
         "m.onnx: operators that are not known: NonZero (2 nodes, the first 'a'), com.microsoft.FusedConv (node 'c')");
}

TEST_F(BadNet, AnOpsetThatIsTooOldOrTooNew) {
  model_.opset = 6;
  expect(ErrorKind::unsupported, "m.onnx: its operators are of opset 6; read are 7 to 28");
  model_.opset = 99;
  expect(ErrorKind::unsupported, "m.onnx: its operators are of opset 99; read are 7 to 28");
}

TEST_F(BadNet, ACycle) {
  model_.nodes = {{"a", "Add", "", {"x", "q"}, {"p"}, {}},
                  {"b", "Relu", "", {"p"}, {"q"}, {}},
                  {"c", "Relu", "", {"q"}, {"y"}, {}}};
  expect(ErrorKind::corrupt,
         "m.onnx: node 'a' (Add): reads what it makes itself, by way of other nodes: the graph has a cycle");
}

TEST_F(BadNet, NodesMayStandInAnyOrder) {
  model_.nodes = {{"b", "Relu", "", {"p"}, {"y"}, {}}, {"a", "Neg", "", {"x"}, {"p"}, {}}};
  const std::string bytes = serialize_onnx(model_);
  const Net net = read_onnx_net(std::as_bytes(std::span(bytes)), "m.onnx", {});
  EXPECT_EQ(evaluate(net, std::vector<std::vector<float>>{{1, -2, 3, -4}}, nullptr)[0],
            (std::vector<float>{0, 2, 0, 4}));
}

TEST_F(BadNet, AValueThatNothingMakes) {
  model_.nodes[0].inputs = {"z"};
  expect(ErrorKind::corrupt, "m.onnx: node 'n' (Relu): reads 'z', which nothing makes");
}

TEST_F(BadNet, TwoValuesOfOneName) {
  model_.nodes.push_back({"k", "Neg", "", {"x"}, {"y"}, {}});
  expect(ErrorKind::corrupt, "m.onnx: node 'k' (Neg): two values have the name 'y'");
}

TEST_F(BadNet, AnOutputThatNothingMakes) {
  model_.outputs[0].name = "z";
  expect(ErrorKind::corrupt, "m.onnx: nothing makes its output 'z'");
}

TEST_F(BadNet, ShapesThatDoNotFit) {
  constant("c", OnnxType::f32, {3}, std::string(12, '\0'));
  model_.nodes[0] = {"n", "Add", "", {"x", "c"}, {"y"}, {}};
  expect(ErrorKind::corrupt, "m.onnx: node 'n' (Add): binary: values whose shapes do not fit");
}

TEST_F(BadNet, WeightsOfOtherChannels) {
  model_.inputs[0].dims = {std::uint64_t{1}, std::uint64_t{4}, std::uint64_t{5}, std::uint64_t{5}};
  constant("w", OnnxType::f32, {2, 3, 1, 1}, std::string(24, '\0'));
  model_.nodes[0] = {"n", "Conv", "", {"x", "w"}, {"y"}, {}};
  expect(ErrorKind::corrupt, "m.onnx: node 'n' (Conv): weights for another number of channels");
}

TEST_F(BadNet, WeightsThatAreNoConstants) {
  model_.inputs[0].dims = {std::uint64_t{1}, std::uint64_t{4}, std::uint64_t{5}};
  model_.inputs.push_back({"w", OnnxType::f32, {std::uint64_t{2}, std::uint64_t{4}, std::uint64_t{1}}});
  model_.nodes[0] = {"n", "Conv", "", {"x", "w"}, {"y"}, {}};
  expect(ErrorKind::unsupported, "m.onnx: node 'n' (Conv): its input 1 is known only when the net runs: w");
}

TEST_F(BadNet, AnOpenShape) {
  model_.inputs[0].dims = {std::string("batch"), std::uint64_t{3}, std::string("h"), std::string("w")};
  expect(ErrorKind::unusable_input, "m.onnx: input 'x': its shape is open, ['batch', 3, 'h', 'w']; give one: x=1,...");
  expect(ErrorKind::invalid_argument,
         "m.onnx: input 'x': should have the shape ['batch', 3, 'h', 'w']; asked for was [1, 4, 2, 2]",
         {.shapes = {{"x", {1, 4, 2, 2}}}});
  expect(ErrorKind::invalid_argument, "m.onnx: has no input 'z'; its inputs are x",
         {.shapes = {{"z", {1}}, {"x", {1, 3, 2, 2}}}});
}

TEST_F(BadNet, ABranchThatOnlyTheRunDecides) {
  model_.inputs[0] = {"x", OnnxType::boolean, {}};
  model_.nodes[0] = {"n", "If", "", {"x"}, {"y"}, {}};
  expect(
      ErrorKind::unsupported,
      "m.onnx: node 'n' (If): which branch it takes is known only when the net runs: x; an input that decides can be "
      "given as a constant");
}

TEST_F(BadNet, ConstantsOutsideTheDirectory) {
  for (const char* const place : {"../c.bin", "/etc/passwd", "sub/../../c.bin"}) {
    model_.initializers = {{"c", OnnxType::f32, {1}, "", OnnxExternal{place, 0, 4}}};
    expect(ErrorKind::corrupt,
           std::string("m.onnx: initializer 'c': lies outside the model's directory: '") + place + "'");
  }
}

TEST_F(BadNet, ConstantsBesideTheModelAreRead) {
  ScratchDirectory scratch;
  scratch.write("c.bin", std::string("....") + std::string("\0\0\x80\x3f\0\0\0\x40", 8));
  model_.initializers = {{"c", OnnxType::f32, {2}, "", OnnxExternal{"c.bin", 4, 8}}};
  model_.inputs[0].dims = {std::uint64_t{2}};
  model_.nodes[0] = {"n", "Mul", "", {"x", "c"}, {"y"}, {}};
  const auto read = [&] {
    const std::string bytes = serialize_onnx(model_);
    return read_onnx_net(std::as_bytes(std::span(bytes)), scratch / "m.onnx", {});
  };
  EXPECT_EQ(evaluate(read(), std::vector<std::vector<float>>{{3, 5}}, nullptr)[0], (std::vector<float>{3, 10}));
  model_.initializers[0].external->offset = 8;
  EXPECT_THROW(read(), Error);  // ends too early
}

TEST_F(BadNet, ConstantsOfAnotherLength) {
  constant("c", OnnxType::f32, {3}, std::string(8, '\0'));
  expect(ErrorKind::corrupt, "m.onnx: initializer 'c': should have 12 bytes: 8");
}

TEST_F(BadNet, ConstantsOfMoreNumbersThanThereAre) {
  constant("c", OnnxType::f32, {std::uint64_t{1} << 40, std::uint64_t{1} << 40}, "");
  expect(ErrorKind::corrupt, "m.onnx: initializer 'c': has more numbers than a small net has");
}

TEST_F(BadNet, AValueOfMoreNumbersThanASmallNetHas) {
  constant("s", OnnxType::i64, {2}, std::string("\0\0\0\x40\0\0\0\0\0\0\0\x40\0\0\0\0", 16));
  model_.inputs[0].dims = {std::uint64_t{1}, std::uint64_t{1}};
  model_.nodes[0] = {"n", "Expand", "", {"x", "s"}, {"y"}, {}};
  expect(ErrorKind::corrupt, "m.onnx: node 'n' (Expand): an extent that no value has");
}

}  // namespace
}  // namespace nibble
