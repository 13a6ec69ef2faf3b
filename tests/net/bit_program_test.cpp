// SPDX-License-Identifier: Apache-2.0
//
// Products of signs by binary and ternary weights in compiled nets: the numbers of the reference arithmetic, on every
// instruction set and number of threads, and which products are computed so.
#include <string_view>

#include "io/onnx/onnx_model.h"
#include "net/net_pen.h"
#include "net/onnx/onnx_export.h"
#include "net/onnx/onnx_net.h"
#include "net/run_program.h"
#include "net/signs.h"
#include "net/tiny_nets.h"

namespace nibble {
namespace {

enum class Weights { binary, ternary, others };

// Signs times a scale of each row; of ternary ones every third is 0.
std::vector<float> weights_of_bits(std::size_t rows, std::size_t cols, Weights kind, std::uint64_t seed) {
  std::vector<float> numbers = normal_numbers(rows * cols, seed);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const float scale = 0.25F + 0.125F * static_cast<float>(i / cols % 7);
    if (kind != Weights::others) numbers[i] = std::copysign(scale, numbers[i]);
    if (kind == Weights::ternary && (i * 7 + i / cols) % 3 == 0) numbers[i] = 0;
  }
  return numbers;
}

NetValue signs(NetPen& pen, const NetValue& x) {
  return pen.apply(Select{},
                   {pen.binary(Binary::Kind::greater_or_equal, x, pen.number(0)), pen.number(1), pen.number(-1)},
                   NumberType::f32);
}

std::size_t steps_called(const Net& net, std::string_view name) {
  Machine machine(Isa::scalar, 1);
  for (const auto& [step, count] : NetProgram(net, machine).steps())
    if (step == name) return count;
  return 0;
}

// Whole sums times a scale, plus a bias, rounded once: as the reference does it.
void expect_reference_bits(const Net& net) {
  std::vector<std::vector<float>> given;
  for (const NetPort& input : net.inputs) {
    given.push_back(normal_numbers(numbers_of(net.graph.values[input.value]), 7));
    given.back()[0] = -0.0F;  // at least 0
    given.back()[1] = 0.0F;
  }
  const auto expected = evaluate(net, given, nullptr);
  const auto made = run_on_all_sets(net, given);
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(same_bits(made[i], expected[i])) << net.outputs[i].name;
}

struct Shape2D {
  Extents x;
  std::uint64_t outputs;
  Window window;
};
const Shape2D kShapes[] = {{{1, 64, 7, 9}, 32, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}},
                           {{2, 70, 8, 7}, 33, {{3, 2}, {2, 1}, {1, 2}, {1, 2}, {2, 1}}},
                           {{1, 130, 5, 6}, 70, {{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}},
                           {{3, 64, 6, 6}, 5, {{1, 1}, {2, 2}, {1, 1}, {0, 0}, {0, 0}}},
                           {{1, 9, 8, 8}, 12, {{5, 5}, {1, 1}, {1, 1}, {2, 2}, {2, 2}}},
                           {{2, 40, 21}, 11, {{5}, {2}, {3}, {3}, {4}}}};

TEST(BitProgram, ConvolutionsAreTheReferences) {
  for (const Weights kind : {Weights::binary, Weights::ternary})
    for (std::size_t i = 0; i < std::size(kShapes); ++i) {
      SCOPED_TRACE(i);
      const Shape2D& shape = kShapes[i];
      NetPen pen;
      const NetValue x = pen.input("x", NumberType::f32, shape.x);
      const std::size_t cols = static_cast<std::size_t>(shape.x[1] * shape.window.num_taps());
      pen.put("w", weights_of_bits(static_cast<std::size_t>(shape.outputs), cols, kind, i));
      pen.put("w.bias", normal_numbers(static_cast<std::size_t>(shape.outputs), 50 + i));
      pen.output("y", pen.apply(Convolution{"w", true, shape.outputs, 1, shape.window}, {signs(pen, x)}));
      const Net net = std::move(pen).finish();
      EXPECT_EQ(steps_called(net, kind == Weights::binary ? "binary product" : "ternary product"), 1u);
      expect_reference_bits(net);
    }
}

// Behind another product, with what is clipped behind it, and read by a third.
TEST(BitProgram, LinearsInARow) {
  for (const Weights kind : {Weights::binary, Weights::ternary}) {
    NetPen pen;
    NetValue h = pen.input("x", NumberType::f32, {2, 100});
    for (const char* const part : {"a", "b", "c"}) {
      const std::size_t cols = static_cast<std::size_t>(h.extent(1));
      pen.put(part, weights_of_bits(77, cols, kind, cols));
      Linear op;
      op.part = part;
      op.rows = 77;
      h = pen.apply(op, {signs(pen, h)});
      if (part[0] == 'b') h = pen.unary(Unary::Kind::clip, h, -3.5F, 2.25F);
    }
    pen.output("y", h);
    const Net net = std::move(pen).finish();
    EXPECT_EQ(steps_called(net, kind == Weights::binary ? "binary product" : "ternary product"), 3u);
    EXPECT_EQ(steps_called(net, "select"), 0u);  // nobody makes signs
    expect_reference_bits(net);
  }
}

// As it is written and read again: truths are numbers in between, weights bits.
TEST(BitProgram, IsFoundInAFile) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {1, 64, 4, 4});
  pen.put("w", weights_of_bits(8, 64 * 9, Weights::binary, 3));
  pen.output("y",
             pen.apply(Convolution{"w", false, 8, 1, Window{{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}}, {signs(pen, x)}));
  const std::string bytes = serialize_onnx(spell_onnx(std::move(pen).finish()));
  const Net net = read_onnx_net(std::as_bytes(std::span(bytes)), "signs.onnx", {});
  EXPECT_EQ(steps_called(net, "binary product"), 1u);
  for (const std::string_view made : {"select", "binary", "unary"}) EXPECT_EQ(steps_called(net, made), 0u) << made;
  expect_reference_bits(net);
}

// Signs that somebody else reads, weights of several sizes, and groups are computed in floats.
TEST(BitProgram, WhatIsNoProductOfBits) {
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {1, 64, 4, 4});
  const NetValue s = signs(pen, x);
  const Window point{{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}};
  pen.put("others", weights_of_bits(8, 64, Weights::others, 3));
  pen.put("grouped", weights_of_bits(64, 32, Weights::binary, 4));
  pen.put("bits", weights_of_bits(8, 64, Weights::binary, 5));
  pen.output("signs", s);
  pen.output("others", pen.apply(Convolution{"others", false, 8, 1, point}, {s}));
  pen.output("grouped", pen.apply(Convolution{"grouped", false, 64, 2, point}, {s}));
  pen.output("bits", pen.apply(Convolution{"bits", false, 8, 1, point}, {s}));
  const Net net = std::move(pen).finish();
  EXPECT_EQ(steps_called(net, "binary product"), 1u);
  EXPECT_EQ(steps_called(net, "convolution"), 2u);
  const std::vector<std::vector<float>> given = {normal_numbers(64 * 16, 1)};
  const auto expected = evaluate(net, given, nullptr);
  const auto made = run_on_all_sets(net, given);
  EXPECT_TRUE(same_bits(made[0], expected[0]));
  EXPECT_TRUE(same_bits(made[3], expected[3]));
  for (const std::size_t i : {1u, 2u})
    for (std::size_t k = 0; k < expected[i].size(); ++k) ASSERT_NEAR(made[i][k], expected[i][k], 1e-4) << i;
}

TEST(Signs, StandBetweenAValueAndItsReaders) {
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {1, 2});
  pen.put("w", {1, 2});
  Linear op;
  op.part = "w";
  op.rows = 1;
  pen.output("y", pen.apply(op, {pen.unary(Unary::Kind::negative, x)}));
  Net net = std::move(pen).finish();
  const ValueId between = net.graph.nodes[0].output;
  put_signs_behind(net, between);
  std::size_t found = 0;
  for (const Node& node : net.graph.nodes)
    if (const auto of = signs_of(net, makers_of(net.graph), node)) {
      EXPECT_EQ(*of, between);
      ++found;
    }
  EXPECT_EQ(found, 1u);
  EXPECT_EQ(evaluate(net, std::vector<std::vector<float>>{{0.5F, 0}}, nullptr)[0][0], 1);  // -0.5, -0: -1 + 2
}

}  // namespace
}  // namespace nibble
