// SPDX-License-Identifier: Apache-2.0
//
// Nets in codes of 8 bits: what is rounded, what it costs, what is left out, and how it is written.
#include "net/quantize/quantize_net.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "io/onnx/onnx_model.h"
#include "net/net_pen.h"
#include "net/onnx/onnx_export.h"
#include "net/onnx/onnx_net.h"
#include "net/quantize/adjustments.h"
#include "net/quantize/weight_rounding.h"
#include "net/tiny_nets.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::vector<float> normal_numbers(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& x : numbers) x = normal(generator);
  return numbers;
}

std::vector<NetSample> normal_samples(const Net& net, std::size_t count) {
  std::vector<NetSample> samples(count);
  for (std::size_t i = 0; i < count; ++i)
    for (const NetPort& input : net.inputs)
      samples[i].push_back(normal_numbers(numbers_of(net.graph.values[input.value]), 100 + i));
  return samples;
}

const OnnxNode* maker(const OnnxModel& model, const std::string& name) {
  for (const OnnxNode& node : model.nodes)
    for (const std::string& output : node.outputs)
      if (output == name) return &node;
  return nullptr;
}

std::vector<const OnnxNode*> readers(const OnnxModel& model, const std::string& name) {
  std::vector<const OnnxNode*> found;
  for (const OnnxNode& node : model.nodes)
    if (std::ranges::find(node.inputs, name) != node.inputs.end()) found.push_back(&node);
  return found;
}

const OnnxInitializer* stored(const OnnxModel& model, const std::string& name) {
  const auto found = std::ranges::find(model.initializers, name, &OnnxInitializer::name);
  return found == model.initializers.end() ? nullptr : &*found;
}

class QuantizeNet : public testing::Test {
 protected:
  Machine machine_{Isa::scalar, 2};

  Net classifier() { return open_net(tiny_net("classifier.onnx"), {.simplifies = true}); }

  // x [1, 8] -> Linear -> Relu -> Linear, the first of whose channels is a thousand times as large as the others.
  static Net unequal() {
    NetPen pen;
    const NetValue x = pen.input("x", NumberType::f32, {1, 8});
    std::vector<float> first = normal_numbers(64, 1), second = normal_numbers(32, 2);
    for (std::size_t i = 0; i < 8; ++i) first[i] *= 1000;
    for (std::size_t row = 0; row < 4; ++row) second[row * 8] /= 1000;
    const NetValue h = pen.apply(Linear{pen.part("a", first), "", 8, false}, {x});
    const NetValue r = pen.apply(Unary{Unary::Kind::relu}, {h});
    pen.name(r, "middle");
    pen.output("y", pen.apply(Linear{pen.part("b", second), "", 4, false}, {r}));
    return std::move(pen).finish();
  }

  std::string error_of(const Net& net, std::span<const NetSample> samples, const NetQuantizeOptions& options = {}) {
    try {
      quantize_net(net, samples, options, machine_);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(QuantizeNet, ComputesAllLayersInIntegers) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = classifier();
  const NetQuantization made = quantize_net(net, normal_samples(net, 24), {}, machine_);
  ASSERT_EQ(made.operations.size(), 3u);
  for (const RoundedOperation& one : made.operations)
    EXPECT_EQ(one.arithmetic, RoundedOperation::Arithmetic::integer) << one.name;
  EXPECT_TRUE(made.left_out.empty());
  EXPECT_TRUE(made.holds_out);
  EXPECT_EQ(made.calibrated + made.judged, 24u);
  EXPECT_GT(made.made.worst, 0);
  EXPECT_LE(100 * made.made.worst, 0.3);
}

TEST_F(QuantizeNet, RoundsWhatMatricesReadWhenItRuns) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = classifier();
  const std::vector<NetSample> samples = normal_samples(net, 8);
  const NetQuantization made = quantize_net(net, samples, {.is_dynamic = true, .max_drop = 100}, machine_);
  EXPECT_EQ(made.num_grids, 0u);
  ASSERT_EQ(made.operations.size(), 3u);
  EXPECT_EQ(made.operations[0].arithmetic, RoundedOperation::Arithmetic::stored);
  EXPECT_EQ(made.operations[2].arithmetic, RoundedOperation::Arithmetic::integer);
  const OnnxModel model = spell_onnx(made.net, made.codes);
  EXPECT_EQ(model.opset, 13);
  std::vector<std::string> ops;
  for (const OnnxNode& node : model.nodes) ops.push_back(node.op);
  const auto first = std::ranges::find(ops, "DynamicQuantizeLinear");
  ASSERT_NE(first, ops.end());
  EXPECT_EQ(
      std::vector<std::string>(first, ops.end()),
      (std::vector<std::string>{"DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul", "Add", "Softmax"}));
  // Sums of the codes that the range of what is read gives, by hand.
  const std::string bytes = serialize_onnx(model);
  const Net again = read_onnx_net(std::as_bytes(std::span(bytes)), "again.onnx", {});
  std::vector<float> read, is;
  evaluate(made.net, samples[0], nullptr, [&](const Node& node, std::span<const float> values) {
    if (std::holds_alternative<Reshape>(node.operation)) read.assign(values.begin(), values.end());
  });
  ASSERT_EQ(read.size(), 128u);
  const auto linear = std::ranges::find_if(
      made.net.graph.nodes, [](const Node& node) { return std::holds_alternative<Linear>(node.operation); });
  const auto& op = std::get<Linear>(linear->operation);
  const float low = std::min(0.0F, *std::ranges::min_element(read)),
              high = std::max(0.0F, *std::ranges::max_element(read)), step = (high - low) / 255,
              zero = std::nearbyint(-low / step);
  const std::span<const float> w = made.net.weight(op.part), b = made.net.weight(op.bias());
  std::vector<double> scores;
  for (std::size_t row = 0; row < 2; ++row)
    for (std::size_t j = 0; j < 5; ++j) {
      double sum = static_cast<double>(b[j]);
      for (std::size_t k = 0; k < 64; ++k) {
        const float code = std::clamp(std::nearbyint(read[row * 64 + k] / step) + zero, 0.0F, 255.0F) - zero;
        sum += static_cast<double>(code) * static_cast<double>(step) * static_cast<double>(w[j * 64 + k]);
      }
      scores.push_back(sum);
    }
  evaluate(again, samples[0], nullptr, [&](const Node& node, std::span<const float> values) {
    if (std::holds_alternative<Softmax>(node.operation)) return;
    is.assign(values.begin(), values.end());
  });
  ASSERT_EQ(is.size(), scores.size());
  for (std::size_t i = 0; i < is.size(); ++i)
    EXPECT_NEAR(static_cast<double>(is[i]), scores[i], 1e-4 * (1 + std::abs(scores[i])));
}

TEST_F(QuantizeNet, IsWrittenAsRuntimesFuseIt) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = classifier();
  const NetQuantization made = quantize_net(net, normal_samples(net, 8), {.max_drop = 100}, machine_);
  const OnnxModel model = spell_onnx(made.net, made.codes);
  EXPECT_EQ(model.opset, 13);
  EXPECT_EQ(model.ir_version, 8);
  std::size_t products = 0;
  for (const OnnxNode& node : model.nodes) {
    if (node.op == "QuantizeLinear") {
      EXPECT_EQ(stored(model, node.inputs[2])->type, OnnxType::u8);
    }
    if (node.op != "Conv" && node.op != "Gemm") continue;
    ++products;
    constexpr OnnxType kTypes[] = {OnnxType::u8, OnnxType::i8, OnnxType::i32};
    ASSERT_EQ(node.inputs.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
      const OnnxNode* const reader = maker(model, node.inputs[i]);
      ASSERT_NE(reader, nullptr) << node.inputs[i];
      EXPECT_EQ(reader->op, "DequantizeLinear");
      if (i == 0)
        EXPECT_EQ(maker(model, reader->inputs[0])->op, "QuantizeLinear");
      else
        EXPECT_EQ(stored(model, reader->inputs[0])->type, kTypes[i]);
    }
    if (node.op == "Gemm") continue;
    std::vector<const OnnxNode*> behind = readers(model, node.outputs[0]);
    ASSERT_EQ(behind.size(), 1u);
    if (behind[0]->op == "Relu") behind = readers(model, behind[0]->outputs[0]);
    ASSERT_EQ(behind.size(), 1u);
    EXPECT_EQ(behind[0]->op, "QuantizeLinear");
  }
  EXPECT_EQ(products, 3u);
}

TEST_F(QuantizeNet, IsReadAgainAsItWasJudged) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = classifier();
  const std::vector<NetSample> samples = normal_samples(net, 8);
  for (const NetRuntime runtime : {NetRuntime::any, NetRuntime::tensorrt}) {
    const NetQuantization made = quantize_net(net, samples, {.runtime = runtime}, machine_);
    const std::string bytes = serialize_onnx(spell_onnx(made.net, made.codes));
    const Net again = read_onnx_net(std::as_bytes(std::span(bytes)), "again.onnx", {});
    EXPECT_EQ(evaluate(again, samples[0], nullptr), evaluate(made.net, samples[0], nullptr));
  }
}

TEST_F(QuantizeNet, HasNoZeroPointsForTensorRt) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = classifier();
  const NetQuantizeOptions options{.runtime = NetRuntime::tensorrt, .max_drop = 100};
  const NetQuantization made = quantize_net(net, normal_samples(net, 8), options, machine_);
  const OnnxModel model = spell_onnx(made.net, made.codes);
  for (const OnnxInitializer& one : model.initializers) {
    EXPECT_NE(one.type, OnnxType::u8) << one.name;
    EXPECT_NE(one.type, OnnxType::i32) << one.name;
  }
  std::size_t grids = 0;
  for (const OnnxNode& node : model.nodes) {
    if (node.op != "QuantizeLinear" && node.op != "DequantizeLinear") continue;
    ++grids;
    ASSERT_EQ(node.inputs.size(), 3u);
    const OnnxInitializer& zero = *stored(model, node.inputs[2]);
    EXPECT_EQ(zero.type, OnnxType::i8);
    EXPECT_EQ(zero.bytes, std::string(zero.bytes.size(), '\0'));
  }
  EXPECT_GE(grids, 9u);
}

TEST_F(QuantizeNet, LeavesOutWhatCostsTooMuchAndNamesIt) {
  const Net net = unequal();
  const std::vector<NetSample> samples = normal_samples(net, 32);
  const NetQuantizeOptions bare{.equalizes = false, .corrects_biases = false, .max_drop = 100};
  const NetQuantization all = quantize_net(net, samples, bare, machine_);
  EXPECT_TRUE(all.left_out.empty());
  EXPECT_GT(all.made.worst, 1e-3);
  NetQuantizeOptions careful = bare;
  careful.max_drop = 0.001;
  const NetQuantization some = quantize_net(net, samples, careful, machine_);
  EXPECT_EQ(some.everything.worst, all.made.worst);
  EXPECT_LE(100 * some.made.worst, 0.001);
  ASSERT_FALSE(some.left_out.empty());
  EXPECT_TRUE(std::ranges::any_of(some.left_out, [](const LeftOut& one) { return one.name == "middle"; }));
  careful.max_drop = 0;
  EXPECT_EQ(quantize_net(net, samples, careful, machine_).made.worst, 0);
}

// Of rows that were not seen, too: those that may be expected to change and a standard deviation of their count more.
TEST_F(QuantizeNet, AgreementIsAskedOfWhatWasNotSeen) {
  const Net net = unequal();
  const std::vector<NetSample> samples = normal_samples(net, 64), others = normal_samples(net, 4000);
  NetQuantizeOptions options{
      .equalizes = false, .corrects_biases = false, .metric = NetMetric::agreement, .max_drop = 100};
  const NetQuantization all = quantize_net(net, samples, options, machine_);
  EXPECT_EQ(all.made.leads, 64u);
  EXPECT_TRUE(all.left_out.empty());
  options.max_drop = 1;
  const NetQuantization some = quantize_net(net, samples, options, machine_);
  EXPECT_GT(some.everything.changing(), 0.01);
  EXPECT_FALSE(some.left_out.empty());
  const auto near = static_cast<double>(some.made.near);
  EXPECT_LE(kChangingOfNear * (near + std::sqrt(near)) / 64, 0.01);
  const auto changed = [&](const NetQuantization& made) {
    const auto should = walk_samples(net, others, machine_, {}), is = walk_samples(made.net, others, machine_, {});
    std::size_t count = 0;
    for (std::size_t i = 0; i < others.size(); ++i)
      count += std::ranges::max_element(is[i][0]) - is[i][0].begin() !=
                       std::ranges::max_element(should[i][0]) - should[i][0].begin()
                   ? 1
                   : 0;
    return static_cast<double>(count) / static_cast<double>(others.size());
  };
  EXPECT_GT(changed(all), 0.01);
  EXPECT_LE(changed(some), 0.01);
}

TEST_F(QuantizeNet, EqualizesWhereThatHelps) {
  const Net net = unequal();
  const std::vector<NetSample> samples = normal_samples(net, 32);
  NetQuantizeOptions options{.equalizes = false, .corrects_biases = false, .max_drop = 100};
  const double apart = quantize_net(net, samples, options, machine_).made.worst;
  options.equalizes = std::nullopt;
  const NetQuantization made = quantize_net(net, samples, options, machine_);
  EXPECT_TRUE(made.is_equalized);
  EXPECT_LT(made.made.worst, apart / 4);
}

TEST_F(QuantizeNet, EqualizedNetsComputeTheSame) {
  const Net net = unequal();
  Net equal = net;
  EXPECT_EQ(equalize(equal), 1u);
  EXPECT_NE(equal.weights, net.weights);
  const NetSample sample = normal_samples(net, 1)[0];
  const auto was = evaluate(net, sample, nullptr), is = evaluate(equal, sample, nullptr);
  float largest = 0;
  for (const float x : was[0]) largest = std::max(largest, std::abs(x));
  // Some divisions and products of each weight, and sums of eight.
  for (std::size_t i = 0; i < was[0].size(); ++i) EXPECT_NEAR(is[0][i], was[0][i], 64 * 0x1p-24F * largest);
}

TEST_F(QuantizeNet, BiasesMakeUpForTheMean) {
  Net net = unequal();
  give_biases(net);
  const std::vector<NetSample> samples = normal_samples(net, 16);
  NumbersByPart weights;
  for (const char* const part : {"a", "b"})
    weights[part] = numbers_of(round_weights(net.weight(part), part[0] == 'a' ? 8 : 4, {.bits = 4}, part, machine_));
  const auto mean = [&](const NumbersByPart* instead) {
    std::vector<double> sums(4, 0);
    for (const NetSample& made : walk_samples(net, samples, machine_, {.instead = instead}))
      for (std::size_t i = 0; i < 4; ++i) sums[i] += static_cast<double>(made[0][i]) / 16;
    return sums;
  };
  const std::vector<double> should = mean(nullptr), before = mean(&weights);
  correct_biases(net, samples, {}, weights, machine_);
  const std::vector<double> after = mean(&weights);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(after[i], should[i], 1e-4);
    EXPECT_GT(std::abs(before[i] - should[i]), 1e-3);
  }
}

TEST_F(QuantizeNet, WeightsStandWithinHalfAStep) {
  const std::vector<float> numbers = normal_numbers(60, 7);
  const WeightCodes codes = round_weights(numbers, 4, {}, "w", machine_);
  const std::vector<float> made = numbers_of(codes);
  for (std::size_t row = 0; row < 4; ++row) {
    float largest = 0;
    for (std::size_t i = 0; i < 15; ++i) largest = std::max(largest, std::abs(numbers[row * 15 + i]));
    EXPECT_EQ(codes.scales[row], largest / 127);
    for (std::size_t i = 0; i < 15; ++i)
      EXPECT_LE(std::abs(made[row * 15 + i] - numbers[row * 15 + i]), codes.scales[row] * (0.5F + 0x1p-16F));
  }
  // A scale that has to be larger, and a row of zeros.
  const std::vector<float> least = {0.5F, 0};
  const WeightCodes coarse = round_weights(std::vector<float>{1, -0.4F, 0, 0}, 2, {.least = least}, "w", machine_);
  EXPECT_EQ(coarse.codes, (std::vector<std::int8_t>{2, -1, 0, 0}));
  EXPECT_EQ(coarse.scales, (std::vector<float>{0.5F, 1}));
}

TEST_F(QuantizeNet, WeightsOfATensorShareAScale) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = classifier();
  const std::vector<NetSample> samples = normal_samples(net, 8);
  const NetQuantizeOptions options{.weight_grain = WeightGrain::tensor, .max_drop = 100};
  const NetQuantization made = quantize_net(net, samples, options, machine_);
  for (const auto& [part, codes] : made.codes) {
    EXPECT_TRUE(codes.has_one_scale) << part;
    EXPECT_EQ(std::ranges::count(codes.scales, codes.scales[0]), static_cast<std::ptrdiff_t>(codes.rows)) << part;
    EXPECT_EQ(std::abs(*std::ranges::max_element(codes.codes, {}, [](int code) { return std::abs(code); })), 127);
  }
  const OnnxModel model = spell_onnx(made.net, made.codes);
  std::size_t weights = 0;
  for (const OnnxNode& node : model.nodes) {
    if (node.op != "DequantizeLinear" || stored(model, node.inputs[0]) == nullptr) continue;
    ++weights;  // and biases
    EXPECT_TRUE(stored(model, node.inputs[1])->dims.empty());
    EXPECT_TRUE(node.attributes.empty());
  }
  EXPECT_EQ(weights, 6u);
  const std::string bytes = serialize_onnx(model);
  const Net again = read_onnx_net(std::as_bytes(std::span(bytes)), "again.onnx", {});
  EXPECT_EQ(evaluate(again, samples[0], nullptr), evaluate(made.net, samples[0], nullptr));
}

TEST_F(QuantizeNet, FourBitsThatLookAtInputsLoseLess) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = classifier();
  const std::vector<NetSample> samples = normal_samples(net, 64);
  NetQuantizeOptions options{.weight_bits = 4, .corrects_biases = false};
  const NetQuantization plain = quantize_net(net, samples, options, machine_);
  options.method = "descent";
  const NetQuantization made = quantize_net(net, samples, options, machine_);
  EXPECT_LT(made.made.worst, 0.8 * plain.made.worst);
  EXPECT_EQ(made.num_grids, 0u);
  const OnnxModel model = spell_onnx(made.net, made.codes);
  EXPECT_EQ(model.opset, 21);
  EXPECT_EQ(std::ranges::count(model.initializers, OnnxType::i4, &OnnxInitializer::type), 3 + 2);  // codes and zeros
  const std::string bytes = serialize_onnx(model);
  const Net again = read_onnx_net(std::as_bytes(std::span(bytes)), "again.onnx", {});
  EXPECT_EQ(evaluate(again, samples[0], nullptr), evaluate(made.net, samples[0], nullptr));
}

TEST_F(QuantizeNet, NamedPartsStayInFloat) {
  const Net net = unequal();
  const std::vector<NetSample> samples = normal_samples(net, 8);
  const NetQuantization made = quantize_net(net, samples, {.max_drop = 100, .exclude = {"b"}}, machine_);
  EXPECT_EQ(made.operations[1].arithmetic, RoundedOperation::Arithmetic::floating);
  EXPECT_FALSE(made.codes.contains("b"));
  EXPECT_TRUE(made.codes.contains("a"));
  EXPECT_EQ(error_of(net, samples, {.exclude = {"z*"}}), ": nothing that would be rounded has a name like z*");
}

TEST_F(QuantizeNet, RefusesWhatCannotBeCalibrated) {
  const Net net = unequal();
  EXPECT_EQ(error_of(net, {}), ": there are no samples to calibrate with");
  const std::vector<NetSample> zeros(4, NetSample{std::vector<float>(8, 0)});
  EXPECT_EQ(error_of(net, zeros),
            ": all numbers of all samples are the same, 0; give samples as the net will see them");
  std::vector<NetSample> infinite = normal_samples(net, 1);
  infinite[0][0][3] = std::numeric_limits<float>::infinity();
  EXPECT_NE(error_of(net, infinite).find("sample 1 makes numbers that are not finite"), std::string::npos);
  const NetQuantization made = quantize_net(net, normal_samples(net, 8), {}, machine_);
  EXPECT_EQ(error_of(made.net, normal_samples(net, 8)), ": is quantized already; give the net that it was made from");
  NetPen pen;
  pen.output("y", pen.apply(Unary{Unary::Kind::relu}, {pen.input("x", NumberType::f32, {1, 2})}));
  const Net relu = std::move(pen).finish();
  EXPECT_EQ(error_of(relu, normal_samples(relu, 4)),
            ": has neither convolutions nor matrix products, so there is nothing to quantize");
}

}  // namespace
}  // namespace nibble
