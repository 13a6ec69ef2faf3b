// SPDX-License-Identifier: Apache-2.0
//
// Nets written as C: compiled without a warning, and run. Codes are those of LiteRT (tools/tiny_tflite.py) and of the
// engine.
#include "net/c/c_source.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <random>
#include <sstream>

#include "base/scratch_directory.h"
#include "io/onnx/onnx_model.h"
#include "io/tflite/tflite_codes.h"
#include "kernels/machine.h"
#include "net/engine/net_program.h"
#include "net/net_pen.h"
#include "net/quantize/quantize_net.h"
#include "net/tflite/tflite_export.h"
#include "net/tflite/tflite_net.h"
#include "net/tiny_nets.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Values = std::vector<std::vector<float>>;

class CSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_tflite()) GTEST_SKIP() << kTfliteMissing;
    if (std::system("command -v gcc >/dev/null 2>&1") != 0) GTEST_SKIP() << "there is no gcc";
  }

  static std::string values_of(std::span<const float> numbers) {
    std::string text;
    for (const float number : numbers) text += fmt::format("{:.9g},", number);
    return text;
  }

  // What NAME_run, or NAME_run_floats, makes of the inputs.
  Values run(const TfliteModel& model, const Values& inputs, bool takes_floats = false) {
    const CSource c = spell_c(model, "tiny", "a test", "tiny.h");
    scratch_.write("tiny.c", c.source);
    scratch_.write("tiny.h", c.header);
    std::string text = "#include <stdio.h>\n#include \"tiny.h\"\n", given;
    const auto is_code = [&](int tensor) {
      return !takes_floats && model.tensors[static_cast<std::size_t>(tensor)].type == TfliteType::i8;
    };
    std::vector<std::size_t> counts;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      text += fmt::format("static const {} in{}[] = {{{}}};\n", is_code(model.inputs[i]) ? "int8_t" : "float", i,
                          values_of(inputs[i]));
      given += fmt::format("{}in{}", given.empty() ? "" : ", ", i);
    }
    std::string print;
    for (std::size_t i = 0; i < model.outputs.size(); ++i) {
      counts.push_back(static_cast<std::size_t>(
          numbers_of(std::span(model.tensors[static_cast<std::size_t>(model.outputs[i])].shape))));
      text += fmt::format("static {} out{}[{}];\n", is_code(model.outputs[i]) ? "int8_t" : "float", i, counts.back());
      given += fmt::format(", out{}", i);
      print += fmt::format("  for (i = 0; i < {}; ++i) printf(\"%.9g\\n\", (double)out{}[i]);\n", counts.back(), i);
    }
    text += fmt::format(
        "int main(void) {{\n  int i;\n  if (tiny_run{}({}) != 0) return 1;\n  if (tiny_run{}({}) != 0) "
        "return 1;\n{}  return 0;\n}}\n",
        takes_floats ? "_floats" : "", given, takes_floats ? "_floats" : "", given, print);
    scratch_.write("main.c", text);
    const std::string command = fmt::format(
        "cd '{}' && gcc -std=c99 -Wall -Wextra -Wpedantic -Werror -O1 -fsanitize=undefined -fno-sanitize-recover "
        "tiny.c main.c -o tiny -lm 2>errors && ./tiny >made",
        scratch_.path().string());
    const int code = std::system(command.c_str());
    EXPECT_EQ(code, 0) << read("errors");
    std::istringstream made(read("made"));
    Values outputs;
    for (const std::size_t count : counts) {
      std::vector<float>& numbers = outputs.emplace_back();
      for (float number; numbers.size() < count && made >> number;) numbers.push_back(number);
      EXPECT_EQ(numbers.size(), count);
    }
    return outputs;
  }

  std::string read(const std::string& name) {
    std::ifstream file(scratch_ / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  Values compiled(const Net& net, const Values& inputs) {
    NetProgram program(net, machine_);
    for (std::size_t i = 0; i < inputs.size(); ++i) std::ranges::copy(inputs[i], program.input(i).begin());
    program.run();
    Values outputs;
    for (std::size_t i = 0; i < net.outputs.size(); ++i)
      outputs.emplace_back(program.output(i).begin(), program.output(i).end());
    return outputs;
  }

  static std::vector<float> normal_numbers(std::size_t count, std::uint64_t seed) {
    std::mt19937_64 generator(seed);
    std::normal_distribution<float> normal;
    std::vector<float> numbers(count);
    for (float& x : numbers) x = normal(generator);
    return numbers;
  }

  ScratchDirectory scratch_;
  Machine machine_{Isa::scalar, 1};
};

Values inputs_of(const Net& net, const std::map<std::string, NpyArray>& arrays) {
  Values inputs;
  for (const NetPort& input : net.inputs) inputs.push_back(arrays.at("in/" + input.name).numbers);
  return inputs;
}

TEST_F(CSourceTest, CodesAreThoseOfLiteRt) {
  const MappedFile file(tiny_net("codes.tflite"));
  const TfliteModel model = parse_tflite(file.bytes(), "codes.tflite");
  const Net net = draw_tflite_net(model, "codes.tflite", {});
  const std::map<std::string, NpyArray> arrays = tiny_arrays("codes");
  expect_outputs(net, run(model, inputs_of(net, arrays)), arrays);
  // On whole numbers alone.
  const CSource c = spell_c(model, "tiny", "a test", "tiny.h");
  const std::string run_alone = c.source.substr(0, c.source.find("_run_floats"));
  EXPECT_EQ(run_alone.find("math.h"), std::string::npos);
  EXPECT_EQ(run_alone.substr(run_alone.find("int tiny_run")).find("float"), std::string::npos);
}

TEST_F(CSourceTest, FloatsAreThoseOfLiteRt) {
  const MappedFile file(tiny_net("floats.tflite"));
  const TfliteModel model = parse_tflite(file.bytes(), "floats.tflite");
  const Net net = draw_tflite_net(model, "floats.tflite", {});
  const std::map<std::string, NpyArray> arrays = tiny_arrays("floats");
  expect_outputs(net, run(model, inputs_of(net, arrays)), arrays);
}

// One of every function on codes, each behind a convolution.
class WholeNet {
 public:
  static Net draw() {
    NetPen pen;
    std::uint64_t seed = 1;
    const auto weights = [&](std::size_t count) {
      std::mt19937_64 generator(seed++);
      std::normal_distribution<float> normal(0, 0.4F);
      std::vector<float> numbers(count);
      for (float& x : numbers) x = normal(generator);
      return numbers;
    };
    const auto convolve = [&](const NetValue& x, std::uint64_t outputs, std::uint64_t groups, Window window) {
      Convolution op;
      op.outputs = outputs;
      op.groups = groups;
      op.window = window;
      op.part = pen.part("w", weights(outputs * x.extent(1) / groups * window.taps[0] * window.taps[1]));
      op.has_bias = true;
      pen.put(op.bias(), weights(outputs));
      return pen.apply(op, {x});
    };
    const Window plain{{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, uneven{{3, 2}, {2, 1}, {1, 2}, {1, 0}, {0, 2}},
        point{{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, pair{{2, 2}, {2, 2}, {1, 1}, {0, 0}, {0, 0}};
    const NetValue image = pen.input("image", NumberType::f32, {1, 3, 8, 8});
    const NetValue x = pen.unary(Unary::Kind::relu, convolve(image, 4, 1, plain));
    const NetValue deep = pen.unary(Unary::Kind::clip, convolve(x, 8, 4, plain), 0, 6);
    const NetValue swish = pen.unary(Unary::Kind::hard_swish, convolve(deep, 4, 2, point));
    const NetValue gate = pen.apply(Sigmoid{}, {convolve(swish, 4, 1, point)});
    const NetValue gated = pen.binary(Binary::Kind::multiply, convolve(swish, 4, 1, point), gate);
    const NetValue sum = pen.binary(Binary::Kind::add, gated, swish);
    const NetValue bent = pen.unary(Unary::Kind::leaky_relu, convolve(sum, 4, 1, uneven), 0.1F);
    const NetValue flat = pen.unary(Unary::Kind::tanh, convolve(bent, 4, 1, point));
    const NetValue small = pen.apply(Pooling{Pooling::Kind::average, pair}, {convolve(flat, 4, 1, point)});
    Resize larger;
    larger.kind = Resize::Kind::nearest;
    larger.places = Resize::Places::asymmetric;
    larger.rounding = Resize::Rounding::down;
    larger.scales = {1, 1, 2, 2};
    larger.extents = {1, 4, 2 * small.extent(2), 2 * small.extent(3)};
    const NetValue repeated = convolve(pen.apply(larger, {small}), 4, 1, point);
    const NetValue most = pen.apply(Pooling{Pooling::Kind::maximum, pair}, {repeated});
    const NetValue joined = pen.apply(Concat{1}, {most, small});
    Pad pad{Pad::Kind::constant, {0, 0, 1, 0}, {0, 0, 0, 2}, 0};
    const NetValue padded = pen.slice(pen.apply(pad, {joined}), 1, 2, 5);
    const NetValue last = convolve(padded, 6, 1, point);
    const NetValue means = pen.apply(Reduce{Reduce::Kind::mean, {2, 3}, true}, {last});
    const NetValue rows = pen.reshape(means, Extents{1, 6});
    Linear classes{pen.part("classes", weights(30)), "", 5, true};
    pen.put(classes.bias(), weights(5));
    const NetValue scores = pen.apply(classes, {rows});
    pen.output("shares", pen.apply(Softmax{1}, {scores}));
    pen.output("scores", scores);
    pen.output("places", last);
    return std::move(pen).finish();
  }
};

TEST_F(CSourceTest, BitsAreThoseOfTheEngine) {
  const Net net = WholeNet::draw();
  std::vector<NetSample> samples(24);
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = {normal_numbers(192, 50 + i)};
  const NetQuantization made = quantize_net(net, samples, {.runtime = NetRuntime::tflite, .max_drop = 100}, machine_);
  const TfliteModel model = spell_tflite(made.net, made.codes, {.has_code_ports = true});
  for (const TfliteOperator& op : model.operators)
    EXPECT_EQ(model.tensors[static_cast<std::size_t>(op.outputs[0])].type, TfliteType::i8) << op.code;
  const Net drawn = draw_tflite_net(model, "whole", {});
  for (std::size_t i = 0; i < 3; ++i) {
    std::vector<float> codes(192);
    std::mt19937_64 generator(i);
    for (float& code : codes) code = static_cast<float>(static_cast<int>(generator() % 256) - 128);
    EXPECT_EQ(run(model, {codes}), compiled(drawn, {codes})) << i;
  }
  // The same of numbers.
  const Net floats = draw_tflite_net(spell_tflite(made.net, made.codes), "whole", {});
  EXPECT_EQ(run(model, {samples[0][0]}, true), compiled(floats, {samples[0][0]}));
}

TEST_F(CSourceTest, WhatStaysInFloatRunsBetweenCodes) {
  const Net net = WholeNet::draw();
  std::vector<NetSample> samples(8);
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = {normal_numbers(192, 50 + i)};
  const NetQuantization made = quantize_net(
      net, samples, {.runtime = NetRuntime::tflite, .max_drop = 100, .exclude = {"w_3*", "w_5*", "classes"}}, machine_);
  const TfliteModel model = spell_tflite(made.net, made.codes, {.has_code_ports = true});
  const Values is = run(model, {samples[0][0]}, true),
               was = compiled(draw_tflite_net(spell_tflite(made.net, made.codes), "whole", {}), {samples[0][0]});
  for (std::size_t i = 0; i < was[1].size(); ++i) EXPECT_NEAR(is[1][i], was[1][i], 0.02 * std::abs(was[1][i]) + 0.02);
}

// A model written down by hand.
struct TfliteHand {
  TfliteModel model;

  int value(TfliteType type, std::vector<std::uint64_t> shape, float scale = 0.5F, std::int64_t zero = 3) {
    TfliteTensor& made = model.tensors.emplace_back();
    made.name = fmt::format("v{}", model.tensors.size() - 1);
    made.type = type;
    made.shape = std::move(shape);
    if (type == TfliteType::i8) {
      made.scales = {scale};
      made.zeros = {zero};
    }
    return static_cast<int>(model.tensors.size() - 1);
  }
  template <class T>
  int stored(TfliteType type, std::vector<std::uint64_t> shape, const std::vector<T>& numbers, std::int64_t zero = 0) {
    const int made = value(type, std::move(shape), 0.5F, zero);
    model.kept.push_back(
        std::make_shared<std::string>(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)));
    model.tensors.back().bytes = std::as_bytes(std::span(*model.kept.back()));
    return made;
  }
  void apply(int code, std::vector<int> inputs, int output, TfliteOptions options = {}) {
    TfliteOperator op;
    op.code = code;
    op.inputs = std::move(inputs);
    op.outputs = {output};
    op.options = options;
    model.operators.push_back(std::move(op));
  }
  // What it is refused for.
  std::string refusal() const {
    try {
      spell_c(model, "net", "a test", "net.h");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unsupported);
      return error.what();
    }
    return {};
  }
};

constexpr auto kF32 = TfliteType::f32, kI8 = TfliteType::i8;

TEST_F(CSourceTest, OutputsThatLieElsewhereAreCopied) {
  TfliteHand hand;
  const int x = hand.value(kF32, {1, 3}), y = hand.value(kF32, {1, 3}), last = hand.value(kF32, {3});
  const int numbers = hand.stored<float>(kF32, {1, 2}, {5, -6});
  hand.apply(tflite_code::kRelu, {x}, y);
  hand.apply(tflite_code::kReshape, {x}, last);
  const int of_stored = hand.value(kF32, {2});
  hand.apply(tflite_code::kReshape, {numbers}, of_stored);
  const int less = hand.value(kF32, {2});
  hand.apply(tflite_code::kNegative, {of_stored}, less);
  hand.model.inputs = {x};
  hand.model.outputs = {x, y, y, last, numbers, of_stored, less};
  const std::vector<float> in = {1, -2, 3}, bent = {1, 0, 3}, kept = {5, -6}, turned = {-5, 6};
  EXPECT_EQ(run(hand.model, {in}), (Values{in, bent, bent, in, kept, kept, turned}));
}

TEST_F(CSourceTest, DimensionsAreCountedFromTheEndToo) {
  TfliteHand hand;
  const int x = hand.value(kF32, {2, 3}), y = hand.value(kF32, {3, 2});
  hand.apply(tflite_code::kTranspose, {x, hand.stored<std::int32_t>(TfliteType::i32, {2}, {-1, 0})}, y);
  hand.model.inputs = {x};
  hand.model.outputs = {y};
  EXPECT_EQ(run(hand.model, {{1, 2, 3, 4, 5, 6}}), (Values{{1, 4, 2, 5, 3, 6}}));
}

// Of squeeze and excitation: a gate for each channel.
TEST_F(CSourceTest, GatesOfCodesAreRepeated) {
  TfliteHand hand;
  const int x = hand.value(kI8, {1, 2, 2, 2}, 0.25F, -7), gate = hand.value(kI8, {1, 1, 1, 2}, 1.0F / 256, -128),
            product = hand.value(kI8, {1, 2, 2, 2}, 0.125F, 5), sum = hand.value(kI8, {1, 2, 2, 2}, 0.5F, 1);
  hand.apply(tflite_code::kMultiply, {x, gate}, product);
  hand.apply(tflite_code::kAdd, {gate, product}, sum);
  hand.model.inputs = {x, gate};
  hand.model.outputs = {product, sum};
  const Values inputs = {{-128, -7, 0, 33, 64, 90, 127, 1}, {-100, 101}};
  const Values is = run(hand.model, inputs);
  EXPECT_EQ(is, compiled(draw_tflite_net(hand.model, "gate", {}), inputs));
  // (-128 + 7) / 4 * 28 / 256 * 8 + 5
  EXPECT_EQ(is[0][0], -21);
}

TEST_F(CSourceTest, StoredCodesOfFloatsAreWrittenOnce) {
  TfliteHand hand;
  const int x = hand.value(kF32, {1, 2, 2, 2}), weights = hand.value(kF32, {1, 1, 2, 2}),
            y = hand.value(kF32, {1, 2, 1, 2});
  hand.apply(tflite_code::kDequantize, {hand.stored<std::int8_t>(kI8, {1, 1, 2, 2}, {1, 2, 3, 4}, 1)}, weights);
  hand.apply(tflite_code::kDepthwiseConvolution, {x, weights}, y, {.pads = false});
  hand.model.inputs = {x};
  hand.model.outputs = {y};
  // Codes of 0, 0.5, 1, 1.5; an array that nothing reads does not compile without a warning.
  EXPECT_EQ(run(hand.model, {{1, 2, 3, 4, 5, 6, 7, 8}}), (Values{{3, 7, 7, 15}}));
  // Four weights, two biases, and what its window says in 21 numbers.
  EXPECT_EQ(spell_c(hand.model, "net", "a test", "net.h").constant_bytes, 4u * (4 + 2 + 21));
}

TEST_F(CSourceTest, RefusesWhatItCannotBeSureOf) {
  const auto refusal = [](const std::function<void(TfliteHand&, int, int)>& draw, TfliteType from = kF32,
                          TfliteType to = kF32) {
    TfliteHand hand;
    const int x = hand.value(from, {1, 2}), y = hand.value(to, {1, 2});
    draw(hand, x, y);
    hand.model.inputs = {x};
    hand.model.outputs = {y};
    return hand.refusal();
  };
  const auto expect = [](const std::string& text, std::string_view reason) {
    EXPECT_NE(text.find(reason), std::string::npos) << reason << ": " << text;
    EXPECT_NE(text.find("(v"), std::string::npos) << "the node: " << text;
  };
  const auto matrix = [](TfliteType type, std::vector<std::uint8_t> bytes) {
    return [type, bytes](TfliteHand& hand, int x, int y) {
      hand.apply(tflite_code::kFullyConnected, {x, hand.stored<std::uint8_t>(type, {2, 2}, bytes)}, y);
    };
  };
  expect(refusal(matrix(kI8, {1, 2, 3, 4})), "weights of another kind");
  expect(refusal(matrix(TfliteType::f16, {0, 0, 0, 0, 0, 0, 0, 0})), "weights of another kind");
  expect(refusal(matrix(kF32, {1, 2, 3, 4})), "weights of another kind");
  expect(refusal(matrix(kI8, {1, 2}), kI8, kI8), "weights that an operator makes");
  const auto relu = [](TfliteHand& hand, int x, int y) { hand.apply(tflite_code::kRelu, {x}, y); };
  expect(refusal(relu, kF32, kI8), "numbers of different types");
  expect(refusal(relu, TfliteType::i32), "neither floats nor codes");
  expect(refusal(
             [](TfliteHand& hand, int x, int y) {
               hand.model.tensors[static_cast<std::size_t>(x)].scales.clear();
               hand.apply(tflite_code::kRelu, {x}, y);
             },
             kI8, kI8),
         "codes without a grid");
  expect(refusal([](TfliteHand& hand, int x, int y) {
           const int between = hand.value(kF32, {});
           hand.apply(tflite_code::kRelu, {x}, between);
           hand.apply(tflite_code::kRelu, {between}, y);
         }),
         "values whose shape is not said");
  for (const float number : {NAN, INFINITY})
    expect(refusal([&](TfliteHand& hand, int x, int y) {
             hand.apply(tflite_code::kFullyConnected, {x, hand.stored<float>(kF32, {2, 2}, {1, number, 3, 4})}, y);
           }),
           "stored numbers that are infinite, or none");
  expect(refusal(
             [](TfliteHand& hand, int x, int y) {
               const int w = hand.stored<std::int8_t>(kI8, {2, 2}, {1, 2, 3, 4});
               const int bias = hand.stored<std::int32_t>(TfliteType::i32, {2}, {0, INT32_MAX - 100});
               hand.apply(tflite_code::kFullyConnected, {x, w, bias}, y);
             },
             kI8, kI8),
         "sums that 32 bits may not hold");
  expect(refusal([](TfliteHand& hand, int x, int y) {
           TfliteOptions options;
           options.activation = TfliteActivation::relu;
           options.axis = 1;
           hand.apply(tflite_code::kConcatenation, {x}, y, options);
         }),
         "a fused activation");
  expect(refusal(
             [](TfliteHand& hand, int x, int y) {
               hand.model.tensors[static_cast<std::size_t>(y)].zeros = {4};
               hand.apply(tflite_code::kReshape, {x}, y);
             },
             kI8, kI8),
         "codes that go to another grid");
}

TEST_F(CSourceTest, RefusesWhatHasNoFunction) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = open_net(tiny_net("mobile_places.onnx"), {.simplifies = true});
  try {
    spell_c(spell_tflite(net), "net", "mobile_places.onnx", "net.h");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    const std::string text = error.what();
    EXPECT_NE(text.find("MIRROR_PAD"), std::string::npos) << text;
    EXPECT_NE(text.find("TRANSPOSE_CONV"), std::string::npos) << text;
    EXPECT_NE(text.find("TensorFlow Lite and ONNX have them"), std::string::npos) << text;
  }
}

TEST(CName, IsANameOfC) {
  EXPECT_EQ(c_name("kws-v2.small"), "kws_v2_small");
  EXPECT_EQ(c_name("8bit"), "net_8bit");
  EXPECT_EQ(c_name(""), "net_");
}

}  // namespace
}  // namespace nibble
