// SPDX-License-Identifier: Apache-2.0
//
// Compiled nets of codes against the reference arithmetic of what they are drawn as, and that they are computed in
// whole numbers at all.
#include <set>

#include "io/tflite/tflite_model.h"
#include "net/net_pen.h"
#include "net/run_program.h"
#include "net/tiny_nets.h"

namespace nibble {
namespace {

std::vector<float> random_codes(std::size_t count, std::uint64_t seed, float low, float high) {
  Random random(seed);
  std::vector<float> codes(count);
  for (float& code : codes) code = low + static_cast<float>(random.below(static_cast<std::uint64_t>(high - low) + 1));
  return codes;
}

std::set<std::string> kinds(const Net& net) {
  Machine machine(Isa::scalar, 1);
  std::set<std::string> names;
  for (const auto& [name, count] : NetProgram(net, machine).steps()) names.emplace(name);
  return names;
}

// steps_off: how far codes may be from the reference's. What is drawn in floats is rounded there more often.
void expect_codes(const Net& net, float steps_off) {
  std::vector<std::vector<float>> given;
  for (const NetPort& input : net.inputs) {
    const WholeRange range = whole_range(input.type);
    given.push_back(random_codes(numbers_of(net.graph.values[input.value]), 7 + input.value,
                                 static_cast<float>(range.low), static_cast<float>(range.high)));
  }
  const auto expected = evaluate(net, given, nullptr);
  const auto made = run_on_all_sets(net, given);
  for (std::size_t i = 0; i < made.size(); ++i) {
    std::size_t other = 0;
    std::set<float> different;
    for (std::size_t j = 0; j < made[i].size(); ++j) {
      ASSERT_NEAR(made[i][j], expected[i][j], steps_off) << net.outputs[i].name << ' ' << j;
      other += made[i][j] != expected[i][j];
      different.insert(expected[i][j]);
    }
    EXPECT_LE(other, made[i].size() / 200) << net.outputs[i].name;
    EXPECT_GE(different.size(), std::min<std::size_t>(made[i].size() / 2, 8)) << net.outputs[i].name;
  }
}

struct Shape {
  Extents x;
  std::uint64_t outputs, groups;
  Window window;
};
const Shape kShapes[] = {{{1, 3, 9, 8}, 16, 1, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}},
                         {{1, 16, 7, 9}, 40, 1, {{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}},
                         {{2, 5, 8, 11}, 7, 1, {{3, 2}, {2, 3}, {1, 1}, {1, 0}, {0, 2}}},
                         {{1, 6, 12, 13}, 70, 1, {{3, 3}, {1, 2}, {2, 3}, {2, 3}, {2, 1}}},
                         {{1, 8, 10, 10}, 12, 4, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}},
                         {{1, 20, 9, 9}, 20, 20, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}},
                         {{2, 33, 9, 10}, 33, 33, {{5, 3}, {2, 1}, {1, 2}, {2, 2}, {2, 2}}},
                         {{1, 1, 30, 10}, 64, 1, {{10, 4}, {2, 2}, {1, 1}, {4, 1}, {5, 1}}},
                         {{1, 9, 40}, 11, 1, {{5}, {2}, {3}, {3}, {4}}}};

// Weights in whole numbers and sums times a factor for each output: what operators on codes are drawn as.
NetValue convolve_codes(NetPen& pen, const NetValue& codes, const Shape& shape, float zero, const Quantize& quantize,
                        float y_zero, std::uint64_t seed) {
  const NetValue x = pen.apply(Dequantize{}, {codes, pen.number(1), pen.number(zero)}, NumberType::f32);
  Convolution op{pen.free_part("w"), true, shape.outputs, shape.groups, shape.window};
  const std::size_t row = static_cast<std::size_t>(x.extent(1) / shape.groups * shape.window.num_taps());
  const auto outputs = static_cast<std::size_t>(shape.outputs);
  pen.put(op.part, random_codes(outputs * row, seed, -128, 127));
  pen.put(op.bias(), random_codes(outputs, seed + 1, -3000, 3000));
  std::vector<float> factors = normal_numbers(outputs, seed + 2);
  for (float& factor : factors) factor = (0.5F + std::abs(factor)) * 0.01F / std::sqrt(static_cast<float>(row));
  Extents along(x.rank() - 1, 1);
  along[0] = shape.outputs;
  const NetValue sums = pen.multiply(pen.apply(op, {x}), pen.numbers(factors, along));
  return pen.apply(quantize, {sums, pen.number(1), pen.number(y_zero)}, NumberType::i8);
}

TEST(CodeProgram, ConvolutionsOfCodesAreExact) {
  for (std::size_t i = 0; i < std::size(kShapes); ++i)
    for (const NumberType type : {NumberType::i8, NumberType::u8}) {
      SCOPED_TRACE(i);
      NetPen pen;
      const NetValue x = pen.input("x", type, kShapes[i].x);
      const float zero = type == NumberType::i8 ? -5.0F : 117.0F;
      pen.output("i8", convolve_codes(pen, x, kShapes[i], zero, {-128, 127, 0}, -10, 10 * i));
      pen.output("u8", convolve_codes(pen, x, kShapes[i], zero, {0, 255, 0}, 130, 10 * i + 5));
      pen.output("relu", convolve_codes(pen, x, kShapes[i], zero, {-20, 110, 0}, -20, 10 * i + 7));
      const Net net = std::move(pen).finish();
      const auto steps = kinds(net);
      EXPECT_FALSE(steps.contains("convolution") || steps.contains("channelwise convolution"));
      expect_codes(net, 0);
    }
}

// As QDQ files say it: weights, biases and what is added in floats between codes.
TEST(CodeProgram, PairsOfQuantizeAndDequantizeAreWholeNumbersInside) {
  for (std::size_t i = 0; i < std::size(kShapes); ++i) {
    SCOPED_TRACE(i);
    NetPen pen;
    const NetValue codes = pen.input("x", NumberType::u8, kShapes[i].x);
    const NetValue x = pen.apply(Dequantize{}, {codes, pen.number(0.02F), pen.number(120)}, NumberType::f32);
    Convolution op{pen.free_part("w"), true, kShapes[i].outputs, kShapes[i].groups, kShapes[i].window};
    const std::size_t row = static_cast<std::size_t>(x.extent(1) / op.groups * op.window.num_taps());
    const auto outputs = static_cast<std::size_t>(op.outputs);
    std::vector<float> weights = random_codes(outputs * row, i, -127, 127);
    const std::vector<float> scales = normal_numbers(outputs, 3);
    for (std::size_t j = 0; j < weights.size(); ++j)
      weights[j] *= (0.5F + std::abs(scales[j / row])) * 0.01F / std::sqrt(static_cast<float>(row));
    pen.put(op.part, weights);
    pen.put(op.bias(), normal_numbers(outputs, 4));
    const NetValue y = pen.unary(Unary::Kind::relu, pen.apply(op, {x}));
    const auto quantized = [&](const NetValue& value, float scale, float zero) {
      return pen.apply(Quantize{0, 255, 0}, {value, pen.number(scale), pen.number(zero)}, NumberType::u8);
    };
    const auto dequantized = [&](const NetValue& value, float scale, float zero) {
      return pen.apply(Dequantize{}, {value, pen.number(scale), pen.number(zero)}, NumberType::f32);
    };
    const NetValue y_codes = quantized(y, 0.03F, 3);
    const NetValue back = dequantized(y_codes, 0.03F, 3);
    const NetValue sum = quantized(pen.add(back, back), 0.05F, 1);
    const NetValue swish = quantized(pen.unary(Unary::Kind::hard_swish, dequantized(sum, 0.05F, 1)), 0.04F, 9);
    pen.output("y", y_codes);
    pen.output("sum", sum);
    pen.output("swish", swish);
    pen.output("real", dequantized(swish, 0.04F, 9));
    const Net net = std::move(pen).finish();
    const auto steps = kinds(net);
    EXPECT_FALSE(steps.contains("convolution") || steps.contains("channelwise convolution") ||
                 steps.contains("function"));
    EXPECT_TRUE(steps.contains("sum of codes") && steps.contains("table of codes"));
    expect_codes(net, 1);
  }
}

TEST(CodeProgram, MovementAndPoolingOfCodes) {
  NetPen pen;
  const NetValue codes = pen.input("x", NumberType::i8, {1, 8, 6, 6});
  const auto dequantized = [&](const NetValue& value) {
    return pen.apply(Dequantize{}, {value, pen.number(0.1F), pen.number(-3)}, NumberType::f32);
  };
  const auto quantized = [&](const NetValue& value) {
    return pen.apply(Quantize{-128, 127, 0}, {value, pen.number(0.1F), pen.number(-3)}, NumberType::i8);
  };
  const Window window{{2, 2}, {2, 2}, {1, 1}, {0, 0}, {0, 0}};
  const NetValue turned = quantized(pen.transpose(dequantized(codes), {0, 2, 3, 1}));
  const NetValue pooled = quantized(pen.apply(Pooling{Pooling::Kind::maximum, window}, {dequantized(codes)}));
  const NetValue flat = quantized(pen.reshape(dequantized(pooled), Extents{1, 72}));
  Linear op{pen.part("w", random_codes(10 * 72, 3, -128, 127)), "x", 10, false};
  const NetValue sums =
      pen.apply(op, {pen.apply(Dequantize{}, {flat, pen.number(1), pen.number(-3)}, NumberType::f32)});
  pen.output("turned", turned);
  pen.output("pooled", pooled);
  pen.output("flat", flat);
  pen.output("product",
             pen.apply(Quantize{-128, 127, 0}, {pen.multiply(sums, pen.number(0.002F)), pen.number(1), pen.number(0)},
                       NumberType::i8));
  pen.output("mean", pen.apply(Pooling{Pooling::Kind::average, window}, {codes}));
  pen.output("both", pen.apply(Concat{1}, {pooled, pooled}));
  const Net net = std::move(pen).finish();
  EXPECT_FALSE(kinds(net).contains("convolution"));
  expect_codes(net, 0);
}

// Channels whose weights are all 0 and whose bias is all that 32 bits hold.
TEST(CodeProgram, LargeBiases) {
  NetPen pen;
  const NetValue codes = pen.input("x", NumberType::u8, {1, 4, 5, 5});
  const NetValue x = pen.apply(Dequantize{}, {codes, pen.number(1), pen.number(7)}, NumberType::f32);
  const Window window{{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}};
  for (const std::uint64_t groups : {1, 4}) {
    Convolution op{pen.free_part("w"), true, 4, groups, window};
    std::vector<float> weights = random_codes(static_cast<std::size_t>(4 * 9 * 4 / groups), 3, -128, 127);
    std::fill_n(weights.begin(), weights.size() / 4, 0.0F);
    pen.put(op.part, weights);
    pen.put(op.bias(), {2147483520.0F, 100, -1000, 0});
    const NetValue factors = pen.numbers({3e-8F, 0.01F, 0.01F, 0.01F}, {4, 1, 1});
    pen.output("y" + std::to_string(groups),
               pen.apply(Quantize{0, 255, 0},
                         {pen.multiply(pen.apply(op, {x}), factors), pen.number(1), pen.number(90)}, NumberType::u8));
  }
  const Net net = std::move(pen).finish();
  EXPECT_FALSE(kinds(net).contains("convolution"));
  expect_codes(net, 0);
}

TEST(CodeProgram, MakesWhatLitertMakes) {
  if (!has_tflite()) GTEST_SKIP() << kTfliteMissing;
  for (const char* const name : {"codes", "floats"}) {
    const Net net = open_net(tiny_net(std::string(name) + ".tflite"), {});
    const auto arrays = tiny_arrays(name);
    std::vector<std::vector<float>> given;
    for (const NetPort& input : net.inputs) given.push_back(arrays.at("in/" + input.name).numbers);
    expect_outputs(net, run_on_all_sets(net, given), arrays);
  }
}

}  // namespace
}  // namespace nibble
