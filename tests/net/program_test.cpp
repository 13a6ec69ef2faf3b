// SPDX-License-Identifier: Apache-2.0
//
// Compiled nets against the reference arithmetic, and the same bits on every instruction set and number of threads.
#include "io/onnx/onnx_model.h"
#include "net/net_pen.h"
#include "net/run_program.h"
#include "net/tiny_nets.h"

namespace nibble {
namespace {

// Sums of at most some hundred products of numbers about 1, here chains in f32 and there in f64.
void expect_near(const std::vector<float>& made, const std::vector<float>& expected, float tolerance) {
  ASSERT_EQ(made.size(), expected.size());
  float largest = 0;
  for (const float number : expected) largest = std::max(largest, std::abs(number));
  for (std::size_t i = 0; i < made.size(); ++i) ASSERT_NEAR(made[i], expected[i], tolerance * (1 + largest)) << i;
}

void expect_as_reference(const Net& net) {
  std::vector<std::vector<float>> given;
  for (const NetPort& input : net.inputs)
    given.push_back(normal_numbers(numbers_of(net.graph.values[input.value]), 7 + input.value));
  const auto expected = evaluate(net, given, nullptr);
  const auto made = run_on_all_sets(net, given);
  for (std::size_t i = 0; i < expected.size(); ++i) expect_near(made[i], expected[i], 512 * 0x1p-24F);
}

struct Shape2D {
  Extents x;
  std::uint64_t outputs, groups;
  Window window;
  bool has_bias;
};

NetValue convolve(NetPen& pen, const NetValue& x, const Shape2D& shape, std::uint64_t seed) {
  const Convolution op{pen.free_part("w"), shape.has_bias, shape.outputs, shape.groups, shape.window};
  const std::size_t row = static_cast<std::size_t>(x.extent(1) / shape.groups * shape.window.num_taps());
  pen.put(op.part, normal_numbers(static_cast<std::size_t>(shape.outputs) * row, seed, 1 / std::sqrt(double(row))));
  if (shape.has_bias) pen.put(op.bias(), normal_numbers(static_cast<std::size_t>(shape.outputs), seed + 1));
  return pen.apply(op, {x});
}

const Shape2D kShapes[] = {{{1, 3, 9, 8}, 16, 1, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, true},
                           {{1, 16, 7, 9}, 40, 1, {{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, true},
                           {{2, 5, 8, 11}, 7, 1, {{3, 2}, {2, 3}, {1, 1}, {1, 0}, {0, 2}}, false},
                           {{1, 6, 12, 13}, 70, 1, {{3, 3}, {1, 2}, {2, 3}, {2, 3}, {2, 1}}, true},
                           {{1, 8, 10, 10}, 12, 4, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, true},
                           {{1, 20, 9, 9}, 20, 20, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, true},
                           {{2, 33, 9, 10}, 33, 33, {{5, 3}, {2, 1}, {1, 2}, {2, 2}, {2, 2}}, false},
                           {{1, 8, 6, 6}, 16, 8, {{3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}}, true},
                           {{1, 1, 30, 10}, 64, 1, {{10, 4}, {2, 2}, {1, 1}, {4, 1}, {5, 1}}, true},
                           {{1, 9, 40}, 11, 1, {{5}, {2}, {3}, {3}, {4}}, true},
                           {{3, 130, 1, 1}, 10, 1, {{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, true}};

TEST(NetProgram, ConvolutionsOfAllShapes) {
  for (std::size_t i = 0; i < std::size(kShapes); ++i) {
    SCOPED_TRACE(i);
    NetPen pen;
    const NetValue x = pen.input("x", NumberType::f32, kShapes[i].x);
    pen.output("y", convolve(pen, x, kShapes[i], 100 * i));
    expect_as_reference(std::move(pen).finish());
  }
}

TEST(NetProgram, WhatIsAddedAndClippedBehindThem) {
  for (std::size_t i = 0; i < std::size(kShapes); ++i) {
    SCOPED_TRACE(i);
    NetPen pen;
    const NetValue x = pen.input("x", NumberType::f32, kShapes[i].x);
    const NetValue a = convolve(pen, x, kShapes[i], 100 * i), b = convolve(pen, x, kShapes[i], 100 * i + 50);
    const NetValue sum = pen.unary(Unary::Kind::relu, pen.add(a, b));
    pen.output("sum", sum);
    pen.output("clipped", pen.unary(Unary::Kind::clip, convolve(pen, x, kShapes[i], 100 * i + 70), -0.5F, 1));
    pen.output("twice", pen.add(sum, sum));
    expect_as_reference(std::move(pen).finish());
  }
}

TEST(NetProgram, FunctionsInBothLayouts) {
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {1, 18, 6, 7});
  const NetValue y = convolve(pen, x, {{}, 19, 1, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, true}, 5);
  for (const NetValue& one : {x, y}) {
    const NetValue by_channel =
        pen.numbers(normal_numbers(static_cast<std::size_t>(one.extent(1)), 3), {one.extent(1), 1, 1});
    for (const auto& [kind, a, b] : {std::tuple{Unary::Kind::leaky_relu, 0.1F, 0.0F},
                                     {Unary::Kind::hard_sigmoid, 0.2F, 0.5F},
                                     {Unary::Kind::hard_swish, 0.0F, 0.0F},
                                     {Unary::Kind::tanh, 0.0F, 0.0F},
                                     {Unary::Kind::absolute, 0.0F, 0.0F},
                                     {Unary::Kind::negative, 0.0F, 0.0F},
                                     {Unary::Kind::erf, 0.0F, 0.0F}})
      pen.output("u" + std::to_string(pen.graph().nodes.size()), pen.unary(kind, one, a, b));
    pen.output("sigmoid" + std::to_string(pen.graph().nodes.size()), pen.apply(Sigmoid{}, {one}));
    pen.output("silu" + std::to_string(pen.graph().nodes.size()), pen.apply(Silu{}, {one}));
    for (const auto kind : {Binary::Kind::add, Binary::Kind::subtract, Binary::Kind::multiply, Binary::Kind::divide}) {
      pen.output("b" + std::to_string(pen.graph().nodes.size()), pen.binary(kind, one, pen.number(2.5F)));
      pen.output("c" + std::to_string(pen.graph().nodes.size()), pen.binary(kind, one, by_channel));
      pen.output("d" + std::to_string(pen.graph().nodes.size()), pen.binary(kind, by_channel, one));
    }
  }
  expect_as_reference(std::move(pen).finish());
}

TEST(NetProgram, PoolingOfAllShapes) {
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {2, 19, 9, 10});
  const NetValue y = convolve(pen, x, {{}, 17, 1, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, true}, 5);
  for (const Window& window :
       {Window{{2, 2}, {2, 2}, {1, 1}, {0, 0}, {0, 0}}, Window{{3, 3}, {2, 1}, {1, 2}, {1, 2}, {1, 1}},
        Window{{9, 10}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}})
    for (const auto kind : {Pooling::Kind::maximum, Pooling::Kind::average})
      for (const bool flag : {false, true}) {
        Pooling op{kind, window, flag, flag};
        pen.output("p" + std::to_string(pen.graph().nodes.size()), pen.apply(op, {y}));
      }
  pen.output("mean", pen.apply(Reduce{Reduce::Kind::mean, {2, 3}, false}, {y}));
  pen.output("kept", pen.apply(Reduce{Reduce::Kind::mean, {2, 3}, true}, {y}));
  expect_as_reference(std::move(pen).finish());
}

TEST(NetProgram, NumbersThatAreMoved) {
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {1, 8, 6, 5});
  const NetValue y = convolve(pen, x, {{}, 8, 1, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, true}, 5);
  pen.output("turned", pen.transpose(y, {0, 2, 3, 1}));
  pen.output("flat", pen.reshape(y, Extents{1, 240}));
  const NetValue both = pen.apply(Concat{1}, {y, x, y});
  pen.output("both", convolve(pen, both, {{}, 5, 1, {{3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}}, true}, 8));
  pen.output("wide", pen.apply(Concat{3}, {y, x}));
  const NetValue part = pen.slice(y, 2, 1, 3);
  pen.output("part", part);
  pen.output("seen", convolve(pen, part, {{}, 4, 1, {{2, 2}, {1, 1}, {1, 1}, {1, 1}, {0, 0}}, true}, 9));
  pen.output("padded", pen.apply(Pad{Pad::Kind::constant, {0, 1, 2, 0}, {0, 0, 1, 3}, -1.5F}, {y}));
  pen.output("backwards", pen.apply(StridedSlice{{0, 7, 0, 4}, {1, 4, 3, 5}, {1, -2, 2, -1}}, {y}));
  pen.output("again", x);
  pen.output("one", pen.apply(Gather{1}, {y, pen.integers({3}, {})}));
  pen.output("some", pen.apply(Gather{1}, {y, pen.integers({0, 4, 1, 5, -1, 2, 2}, {7})}));
  pen.output("columns", pen.apply(Gather{3}, {y, pen.integers({4, 2, 0}, {3})}));
  expect_as_reference(std::move(pen).finish());
}

TEST(NetProgram, LinearsAndSoftmax) {
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {3, 5, 37});
  Linear op{pen.part("w", normal_numbers(21 * 37, 1, 0.2)), "x", 21, true};
  pen.put(op.bias(), normal_numbers(21, 2));
  const NetValue y = pen.unary(Unary::Kind::relu, pen.apply(op, {x}));
  Linear next{pen.part("v", normal_numbers(66 * 21, 3, 0.2)), "y", 66, false};
  pen.output("y", pen.apply(Softmax{2}, {pen.apply(next, {y})}));
  pen.output("along", pen.apply(Softmax{1}, {y}));
  expect_as_reference(std::move(pen).finish());
}

// Both ways over the steps, several sequences; and gates that are left to the reference arithmetic.
TEST(NetProgram, LongShortTermMemory) {
  for (const auto directions : {RecurrentDirections::forward, RecurrentDirections::reverse, RecurrentDirections::both})
    for (const bool is_plain : {true, false}) {
      NetPen pen;
      const std::uint64_t count = num_directions(directions);
      const auto numbers = [&](std::uint64_t each, std::uint64_t seed) {
        return normal_numbers(static_cast<std::size_t>(count * each), seed, 0.3);
      };
      const NetValue x = pen.input("x", NumberType::f32, {6, 3, 11}),
                     h = pen.input("h", NumberType::f32, {count, 3, 19}),
                     c = pen.input("c", NumberType::f32, {count, 3, 19});
      Lstm op{pen.part("lstm", numbers(4 * 19 * 11, 1)), is_plain, false, 19, directions, {}, 0, false};
      pen.put(op.part + ".recurrent", numbers(4 * 19 * 19, 2));
      if (is_plain) pen.put(op.part + ".bias", numbers(8 * 19, 3));
      for (std::uint64_t d = 0; d < count; ++d)
        for (const auto kind : {GateFunction::Kind::sigmoid, GateFunction::Kind::tanh,
                                is_plain ? GateFunction::Kind::tanh : GateFunction::Kind::relu})
          op.functions.push_back({kind});
      pen.output("y", pen.apply(op, {x, h, c}));
      expect_as_reference(std::move(pen).finish());
    }
}

class TinyProgram : public testing::TestWithParam<const char*> {};

TEST_P(TinyProgram, MakesWhatOnnxRuntimeMakes) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = open_net(tiny_net(std::string(GetParam()) + ".onnx"), {});
  const auto arrays = tiny_arrays(GetParam());
  std::vector<std::vector<float>> given, scalar;
  for (const NetPort& input : net.inputs) given.push_back(arrays.at("in/" + input.name).numbers);
  for (const Isa isa : runnable_sets()) {
    Machine machine(isa, 2);
    const auto made = run_program(net, given, machine);
    expect_outputs(net, made, arrays);
    if (isa == Isa::scalar) scalar = made;
    EXPECT_EQ(made, scalar) << isa_name(isa);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyProgram,
                         testing::Values("attention", "blocks_of_four_bits", "classifier", "elementwise", "mobile",
                                         "quantized_operators", "quantized_pairs", "recurrent", "resized", "shapes",
                                         "transposed", "upsampled"),
                         [](const auto& one) { return std::string(one.param); });

}  // namespace
}  // namespace nibble
