// SPDX-License-Identifier: Apache-2.0
//
// Operations of small nets walked backwards, as PyTorch does it (tools/reference_net_gradients.py writes the file, by
// the names of the cases here), and which of all operations are not.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "graph/extents.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"
#include "net/net.h"
#include "net/net_pen.h"
#include "train/losses.h"
#include "train/net/net_tape.h"
#include "train/net/net_trainer.h"

namespace nibble {
namespace {

constexpr std::uint64_t kOutput = 7, kInputs = 10, kWeights = 100;
constexpr std::size_t kSamples = 2;

// What the script makes numbers from: multiples of 1/1024 in -2 .. 2.
float number(std::uint64_t seed, std::uint64_t i) {
  return static_cast<float>((i * 7919 + seed * 104729 + i * i * 31) % 4096) / 1024 - 2;
}

std::vector<float> numbers(std::uint64_t seed, std::size_t count, bool is_positive = false) {
  std::vector<float> made;
  for (std::size_t i = 0; i < count; ++i) made.push_back(is_positive ? number(seed, i) / 4 + 1.25F : number(seed, i));
  return made;
}

// Sums of some ten products of f32 against f64.
void expect_near(std::span<const float> made, const nlohmann::json& expected, const std::string& what) {
  ASSERT_EQ(made.size(), expected.size()) << what;
  double largest = 1;
  for (const auto& one : expected) largest = std::max(largest, std::abs(one.get<double>()));
  for (std::size_t i = 0; i < made.size(); ++i)
    EXPECT_NEAR(static_cast<double>(made[i]), expected[i].get<double>(), 64 * 0x1p-24 * largest) << what << " at " << i;
}

struct Case {
  Operation operation;
  std::vector<Extents> shapes;  // of a sample
  bool is_positive = false;
  bool norms_by_batch = false;
};

Window window(std::vector<std::uint64_t> taps, std::vector<std::uint64_t> strides, std::vector<std::uint64_t> dilations,
              std::vector<std::uint64_t> pads) {
  return {std::move(taps), std::move(strides), std::move(dilations), pads, pads};
}

std::map<std::string, Case> cases() {
  std::map<std::string, Case> all;
  all["convolution"] = {Convolution{"w", true, 6, 2, window({3, 2}, {2, 1}, {1, 2}, {1, 2})}, {{1, 4, 5, 6}}};
  all["convolution_line"] = {Convolution{"w", false, 5, 1, window({3}, {2}, {1}, {1})}, {{1, 3, 7}}};
  all["depthwise"] = {Convolution{"w", true, 4, 4, window({3, 3}, {1, 1}, {1, 1}, {1, 1})}, {{1, 4, 5, 6}}};
  Linear linear;
  linear.part = "w";
  linear.rows = 5;
  linear.has_bias = true;
  all["linear"] = {linear, {{1, 7}}};
  all["norm_of_batch"] = {BatchNorm{"w"}, {{1, 3, 4, 5}}, false, true};
  all["norm_stored"] = {BatchNorm{"w"}, {{1, 3, 4, 5}}};
  all["layer_norm"] = {LayerNorm{"w", true, 2}, {{1, 3, 4, 5}}};
  all["max_pool"] = {Pooling{Pooling::Kind::maximum, window({3, 2}, {2, 2}, {1, 1}, {1, 0})}, {{1, 3, 5, 6}}};
  all["average_pool"] = {Pooling{Pooling::Kind::average, window({3, 3}, {2, 2}, {1, 1}, {1, 1})}, {{1, 3, 5, 6}}};
  all["softmax"] = {Softmax{1}, {{1, 4, 3}}};
  all["log_softmax"] = {Softmax{2, true}, {{1, 4, 3}}};
  all["matrix_product"] = {MatrixProduct{}, {{1, 3, 4, 5}, {1, 1, 5, 2}}};
  all["concat"] = {Concat{1}, {{1, 2, 3}, {1, 4, 3}}};
  all["expand"] = {Expand{named(std::vector<std::uint64_t>{1, 3, 4})}, {{1, 3, 1}}};
  all["pad"] = {Pad{Pad::Kind::reflect, {0, 0, 1}, {0, 0, 2}}, {{1, 3, 5}}};
  all["reshape"] = {Reshape{named(std::vector<std::uint64_t>{1, 12})}, {{1, 3, 4}}};
  all["strided_slice"] = {StridedSlice{{0, 1, 0}, {1, 2, 3}, {1, 1, 2}}, {{1, 4, 5}}};
  all["transpose"] = {Transpose{{0, 2, 1}}, {{1, 3, 4}}};
  Resize resize;
  resize.places = Resize::Places::asymmetric;
  resize.rounding = Resize::Rounding::down;
  resize.extents = {1, 2, 6, 4};
  resize.scales = {1, 1, 2, 2};
  all["resize"] = {resize, {{1, 2, 3, 2}}};
  all["transposed_convolution"] = {
      TransposedConvolution{"w", true, 6, 2, window({3, 2}, {2, 1}, {1, 2}, {1, 0}), {1, 0}}, {{1, 4, 3, 4}}};
  all["transposed_line"] = {TransposedConvolution{"w", false, 5, 1, window({3}, {2}, {1}, {1}), {0}}, {{1, 3, 7}}};
  const GateFunction sigmoid{GateFunction::Kind::sigmoid}, tanh{GateFunction::Kind::tanh};
  const std::vector<GateFunction> of_gru = {sigmoid, tanh}, of_lstm = {sigmoid, tanh, tanh},
                                  of_two_grus = {sigmoid, tanh, sigmoid, tanh},
                                  of_two_lstms = {sigmoid, tanh, tanh, sigmoid, tanh, tanh};
  using Ways = RecurrentDirections;
  all["gru"] = {Gru{"w", true, 3, Ways::both, of_two_grus}, {{4, 1, 5}, {2, 1, 3}}};
  all["gru_behind"] = {Gru{"w", true, 3, Ways::forward, of_gru, 1.25F, true}, {{4, 1, 5}, {1, 1, 3}}};
  all["lstm"] = {Lstm{"w", true, true, 3, Ways::both, of_two_lstms}, {{4, 1, 5}, {2, 1, 3}, {2, 1, 3}}};
  all["lstm_coupled"] = {Lstm{"w", false, false, 3, Ways::reverse, of_lstm, 1.25F, true},
                         {{4, 1, 5}, {1, 1, 3}, {1, 1, 3}}};
  all["sigmoid"] = {Sigmoid{}, {{1, 9}}};
  all["silu"] = {Silu{}, {{1, 9}}};
  const std::map<std::string, Reduce::Kind> reductions = {{"mean", Reduce::Kind::mean},
                                                          {"sum", Reduce::Kind::sum},
                                                          {"maximum", Reduce::Kind::maximum},
                                                          {"minimum", Reduce::Kind::minimum},
                                                          {"l1", Reduce::Kind::l1},
                                                          {"l2", Reduce::Kind::l2},
                                                          {"log_sum", Reduce::Kind::log_sum},
                                                          {"log_sum_exp", Reduce::Kind::log_sum_exp},
                                                          {"sum_of_squares", Reduce::Kind::sum_of_squares}};
  for (const auto& [name, kind] : reductions)
    all["reduce/" + name] = {Reduce{kind, {1, 3}}, {{1, 3, 2, 4}}, kind == Reduce::Kind::log_sum};
  const std::map<std::string, Binary::Kind> pairs = {
      {"add", Binary::Kind::add},           {"subtract", Binary::Kind::subtract},
      {"multiply", Binary::Kind::multiply}, {"divide", Binary::Kind::divide},
      {"power", Binary::Kind::power},       {"minimum", Binary::Kind::minimum},
      {"maximum", Binary::Kind::maximum},   {"parametric_relu", Binary::Kind::parametric_relu},
      {"greater", Binary::Kind::greater}};
  for (const auto& [name, kind] : pairs)
    all["binary/" + name] = {
        Binary{kind}, {{1, 3, 4}, {1, 1, 4}}, kind == Binary::Kind::divide || kind == Binary::Kind::power};
  using Kind = Unary::Kind;
  const std::map<std::string, Unary> points = {{"relu", {Kind::relu}},
                                               {"clip", {Kind::clip, -1, 0.75F}},
                                               {"leaky_relu", {Kind::leaky_relu, 0.1F}},
                                               {"hard_sigmoid", {Kind::hard_sigmoid, 0.5F, 0.4F}},
                                               {"hard_swish", {Kind::hard_swish}},
                                               {"elu", {Kind::elu, 0.7F}},
                                               {"selu", {Kind::selu, 1.5F, 1.1F}},
                                               {"celu", {Kind::celu, 0.7F}},
                                               {"thresholded_relu", {Kind::thresholded_relu, 0.5F}},
                                               {"gelu", {Kind::gelu}},
                                               {"mish", {Kind::mish}},
                                               {"softplus", {Kind::softplus}},
                                               {"softsign", {Kind::softsign}},
                                               {"tanh", {Kind::tanh}},
                                               {"exponential", {Kind::exponential}},
                                               {"negative", {Kind::negative}},
                                               {"absolute", {Kind::absolute}},
                                               {"erf", {Kind::erf}},
                                               {"sine", {Kind::sine}},
                                               {"cosine", {Kind::cosine}},
                                               {"floor", {Kind::floor}},
                                               {"logarithm", {Kind::logarithm}},
                                               {"square_root", {Kind::square_root}},
                                               {"reciprocal", {Kind::reciprocal}}};
  for (const auto& [name, unary] : points) {
    const bool is_positive =
        unary.kind == Kind::logarithm || unary.kind == Kind::square_root || unary.kind == Kind::reciprocal;
    all["unary/" + name] = {unary, {{1, 24}}, is_positive};
  }
  return all;
}

// Every batch at once, by numbers that the script makes likewise.
void expect_gradients(const Case& one, const nlohmann::json& expected, const std::string& name, Machine& machine) {
  std::vector<std::vector<float>> inputs, by_inputs;
  BatchNode node{.operation = one.operation, .shapes = {}, .samples = kSamples, .inputs = {}, .weight = {}};
  for (std::size_t k = 0; k < one.shapes.size(); ++k) {
    node.shapes.push_back(named(one.shapes[k]));
    inputs.push_back(numbers(kInputs + k, kSamples * numbers_of(node.shapes[k]), one.is_positive));
    by_inputs.emplace_back(inputs[k].size(), 0.0F);
  }
  for (const std::vector<float>& input : inputs) node.inputs.push_back({input, false});
  std::map<std::string, std::vector<float>, std::less<>> weights, by_weights;
  std::vector<std::string> parts;
  std::visit(
      [&](const auto& op) {
        for (const WeightUse& use : op.weights(node.shapes)) {
          const bool is_variance = use.part.ends_with(".variance");
          weights[use.part] = numbers(kWeights + parts.size(), numbers_of(use.shape), is_variance);
          parts.push_back(use.part);
          if (use.role != TensorRole::coefficients) by_weights[use.part].assign(weights[use.part].size(), 0.0F);
        }
      },
      one.operation);
  node.weight = [&](std::string_view part) { return std::span<const float>(weights.find(part)->second); };
  const std::size_t size =
      std::visit([&](const auto& op) { return numbers_of(op.output(node.shapes)); }, one.operation);
  std::vector<float> made(kSamples * size);
  const std::vector<float> by_made = numbers(kOutput, made.size());
  BatchGradients into{.output = by_made, .inputs = {}, .weight = [&](std::string_view part) {
                        const auto found = by_weights.find(part);
                        return found == by_weights.end() ? std::span<float>{} : std::span<float>(found->second);
                      }};
  for (std::vector<float>& by : by_inputs) into.inputs.emplace_back(by);
  if (one.norms_by_batch) {
    const NormOfBatch norm = evaluate_norm(node, made, machine);
    add_norm_gradients(node, norm, into, machine);
  } else {
    evaluate_batch(node, made, machine);
    add_gradients(node, made, into, machine);
  }
  for (std::size_t k = 0; k < by_inputs.size(); ++k)
    expect_near(by_inputs[k], expected["inputs"][k], name + ", input " + std::to_string(k));
  for (std::size_t k = 0; k < expected["weights"].size(); ++k)
    expect_near(by_weights[parts[k]], expected["weights"][k], name + ", " + parts[k]);
}

nlohmann::json reference() { return nlohmann::json::parse(read_text(data_directory() / "train/net_gradients.json")); }

TEST(NetGradient, IsPyTorchs) {
  const nlohmann::json expected = reference()["operations"];
  std::map<std::string, Case> all = cases();
  // By what is chosen between: truths.
  all["select"] = {Select{}, {{1, 3, 4}, {1, 3, 4}, {1, 1, 4}}};
  ASSERT_EQ(all.size(), expected.size());
  Machine machine(chosen_isa(), 2);
  for (const auto& [name, one] : all) {
    ASSERT_TRUE(expected.contains(name)) << name;
    if (name != "select") expect_gradients(one, expected[name], name, machine);
  }
}

TEST(NetGradient, OfAChoiceIsThatOfWhatIsChosen) {
  const nlohmann::json expected = reference()["operations"]["select"];
  Machine machine(chosen_isa(), 1);
  const Operation select = Select{};
  const std::vector<Dimensions> shapes = {named(std::vector<std::uint64_t>{1, 3, 4}),
                                          named(std::vector<std::uint64_t>{1, 3, 4}),
                                          named(std::vector<std::uint64_t>{1, 1, 4})};
  std::vector<float> which = numbers(kInputs, 24), a = numbers(kInputs + 1, 24), b = numbers(kInputs + 2, 8), made(24);
  for (float& one : which) one = one > 0 ? 1.0F : 0.0F;
  std::vector<float> by_a(24), by_b(8);
  const std::vector<float> by_made = numbers(kOutput, 24);
  const BatchNode node{select, shapes, kSamples, {{which}, {a}, {b}}, {}};
  evaluate_batch(node, made, machine);
  add_gradients(node, made, {by_made, {{}, by_a, by_b}, {}}, machine);
  expect_near(by_a, expected["inputs"][1], "the first");
  expect_near(by_b, expected["inputs"][2], "the second");
}

template <class... Op>
std::vector<Operation> one_of_each(const std::variant<Op...>*) {
  return {Operation(Op{})...};
}

// A new operation of nets has a gradient, or is named here.
TEST(NetGradient, IsMissingOfTheseAlone) {
  std::set<std::string> missing;
  for (const Operation& operation : one_of_each(static_cast<const Operation*>(nullptr)))
    if (!gradient_refusal(operation).empty()) missing.insert(std::string(operation_name(operation)));
  const std::set<std::string> expected = {"dequantize", "dynamic_range", "quantize"};
  EXPECT_EQ(missing, expected);
}

// Two convolutions, signs between them, norms by the batch; the loss of labels.
class SmallNet : public testing::Test {
 protected:
  SmallNet() {
    NetPen pen;
    const auto weights = [&](const char* part, std::size_t count) {
      std::vector<float> made = numbers(kWeights + next_++, count);
      for (float& one : made) one /= 2;
      pen.put(part, std::move(made));
    };
    NetValue h = pen.input("x", NumberType::f32, {1, 2, 4, 4});
    const Window around = window({3, 3}, {1, 1}, {1, 1}, {1, 1});
    const auto norm = [&](const char* part, std::size_t channels) {
      weights(part, channels);
      weights((std::string(part) + ".bias").c_str(), channels);
      pen.put(std::string(part) + ".mean", std::vector<float>(channels, 0));
      pen.put(std::string(part) + ".variance", std::vector<float>(channels, 1));
      h = pen.apply(BatchNorm{part}, {h});
    };
    weights("first", 72);
    weights("first.bias", 4);
    h = pen.apply(Convolution{"first", true, 4, 1, around}, {h});
    norm("norm", 4);
    h = pen.apply(Select{},
                  {pen.binary(Binary::Kind::greater_or_equal, h, pen.number(0)), pen.number(1), pen.number(-1)});
    weights("second", 216);
    h = pen.apply(Convolution{"second", false, 6, 1, around}, {h});
    norm("later", 6);
    h = pen.apply(Pooling{Pooling::Kind::maximum, window({2, 2}, {2, 2}, {1, 1}, {0, 0})},
                  {pen.unary(Unary::Kind::relu, h)});
    weights("last", 72);
    weights("last.bias", 3);
    Linear last;
    last.part = "last";
    last.rows = 3;
    last.has_bias = true;
    pen.output("y", pen.apply(last, {pen.reshape(h, Extents{1, 24})}));
    net_ = std::move(pen).finish();
  }
  Net net_;
  std::uint64_t next_ = 0;
};

TEST_F(SmallNet, LossAndGradientsArePyTorchs) {
  const nlohmann::json expected = reference()["net"];
  const std::vector<std::string> parts = {"first", "first.bias", "norm", "norm.bias", "second",
                                          "later", "later.bias", "last", "last.bias"};
  const std::vector<std::int32_t> labels = {0, 2, 1, 1, 0};
  for (const std::size_t threads : {1u, 3u}) {
    Machine machine(chosen_isa(), threads);
    NetworkWeights weights(weights_of(net_));
    weights.train(is_learnt);
    NetTape tape(net_, weights, machine);
    tape.forward({numbers(kInputs, 5 * 32)}, 5, NetTape::Norms::of_batch);
    const ValueId decision = decision_of(net_);
    const std::span<const float> made = tape.value(decision);
    std::vector<float> logits(made.begin(), made.end());
    std::vector<double> losses(5);
    next_token_loss(labels, machine)(0, logits, losses);
    double loss = 0;
    for (const double one : losses) loss += one;
    EXPECT_NEAR(loss, expected["loss"].get<double>(), 1e-5);
    tape.backward({{decision, logits}});
    for (std::size_t k = 0; k < parts.size(); ++k)
      expect_near(weights.find(Network::kBegin, parts[k])->gradient, expected["weights"][k], parts[k]);
    expect_near(weights.find(Network::kBegin, "norm.mean")->values.values, expected["mean"][0], "mean");
    expect_near(weights.find(Network::kBegin, "later.variance")->values.values, expected["variance"][1], "variance");
  }
}

TEST_F(SmallNet, OperationsThatAreNotTrainedAreNamed) {
  NetPen pen;
  NetValue h = pen.input("x", NumberType::f32, {1, 2, 4, 4});
  pen.put("w", numbers(1, 8));
  h = pen.apply(Convolution{"w", false, 4, 1, window({1, 1}, {1, 1}, {1, 1}, {0, 0})}, {h});
  h = pen.apply(Reduce{Reduce::Kind::product, {2, 3}}, {h});
  pen.name(h, "multiplied");
  pen.output("y", h);
  const Net net = std::move(pen).finish();
  Machine machine(chosen_isa(), 1);
  NetworkWeights weights(weights_of(net));
  weights.train(is_learnt);
  try {
    const NetTape tape(net, weights, machine);
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_NE(std::string(error.what()).find("multiplied (products along a dimension are not trained yet)"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace nibble
