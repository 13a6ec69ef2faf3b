// SPDX-License-Identifier: Apache-2.0
//
// The gradient of every operation, as PyTorch finds it (tools/reference_gradients.py writes the file, by the names of
// the cases here) and as differences of the reference arithmetic show it.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "graph/op/all.h"

namespace nibble {
namespace {

constexpr std::size_t kTokens = 5;
constexpr std::uint64_t kOutputSeed = 7, kInputSeed = 10, kWeightSeed = 100;
const std::vector<std::int32_t> kIds = {3, 0, 3, 5, 1};

// Multiples of 1/1024 in -2 .. 2.
float number(std::uint64_t seed, std::uint64_t i) {
  return static_cast<float>((i * 7919 + seed * 104729 + i * i * 31) % 4096) / 1024 - 2;
}

std::vector<float> numbers(std::uint64_t seed, std::size_t count) {
  std::vector<float> x(count);
  for (std::size_t i = 0; i < count; ++i) x[i] = number(seed, i);
  return x;
}

std::size_t count_of(const Shape& shape) {
  std::size_t count = 1;
  for (const std::uint64_t extent : shape) count *= extent;
  return count;
}

struct Case {
  std::string name;
  Operation operation;
  std::vector<Dimensions> shapes;
};

Dimensions by_expert(std::uint64_t experts, std::uint64_t width) {
  return {{Axis::token, 0}, {Axis::expert, experts}, {Axis::channel, width}};
}

std::vector<Case> cases() {
  const Dimensions six = token_rows(6), eight = token_rows(8), four = token_rows(4), twelve = token_rows(12),
                   five = token_rows(5), one = token_rows(1);
  const Attention plain = {.heads = 4, .kv_heads = 2, .head_dim = 2, .scale = 0.5F};
  const auto attention = [&](const std::string& name, std::uint64_t window, float cap, bool has_sinks) {
    Attention op = plain;
    op.window = window;
    op.soft_cap = cap;
    op.sinks = has_sinks ? "s" : "";
    return Case{name, op, {eight, four, four}};
  };
  const auto delta = [&](const std::string& name, bool tiles) {
    const GatedDeltaRule op = {.rate = "r",
                               .bias = "b",
                               .key_heads = 2,
                               .heads = 4,
                               .key_dim = 3,
                               .value_dim = 2,
                               .scale = 1,
                               .tiles_heads = tiles};
    return Case{name, op, {six, six, eight, four, four}};
  };
  const Rope rope = {.head_dim = 4, .frequencies = {1, 0.25}};
  Rope neighbours = rope, part = rope, longer = rope;
  neighbours.half_split = false;
  part.head_dim = 6;
  part.magnitude = 1.5F;
  longer.long_frequencies = {0.5, 0.125};
  longer.short_length = kTokens - 1;
  return {
      {"add", Add{}, {six, six}},
      {"multiply", Multiply{}, {six, six}},
      {"scale", Scale{1.5F}, {six}},
      {"gain", Gain{"g"}, {six}},
      {"position_scale", PositionScale{.growth = 0.25F, .period = 2}, {six}},
      {"scale_tokens", ScaleTokens{}, {six, one}},
      {"sigmoid", Sigmoid{}, {six}},
      {"silu", Silu{}, {six}},
      {"gelu", Gelu{}, {six}},
      {"squared_relu", SquaredRelu{}, {six}},
      {"soft_cap", SoftCap{1.5F}, {six}},
      {"slice", Slice{1, 2, 0}, {six}},
      {"slice of heads", Slice{1, 2, 3}, {six}},
      {"clamped_swiglu", ClampedSwiglu{.alpha = 1.75F, .limit = 1.03F}, {six, six}},
      {"embedding", Embedding{"e", 6, 4}, {}},
      {"l2_norm", L2Norm{0.5F, 0}, {six}},
      {"l2_norm of heads", L2Norm{0.5F, 3}, {six}},
      {"rms_norm", RmsNorm{"w", 0.5F, 0}, {six}},
      {"rms_norm of heads", RmsNorm{"w", 0.5F, 3}, {six}},
      {"linear", Linear{.part = "w", .site = "in", .rows = 4}, {six}},
      {"linear with a bias", Linear{.part = "w", .site = "in", .rows = 4, .has_bias = true}, {six}},
      {"expert_linear", ExpertLinear{.part = "w", .site = "in", .rows = 3}, {six, four}},
      {"expert_linear with biases", ExpertLinear{.part = "w", .site = "in", .rows = 3, .has_bias = true}, {six, four}},
      {"expert_linear of own inputs", ExpertLinear{.part = "w", .site = "in", .rows = 2}, {by_expert(4, 3), four}},
      {"mix_experts", MixExperts{}, {by_expert(4, 3), four}},
      {"causal_convolution", CausalConvolution{"w", 3}, {six}},
      {"rope", rope, {eight}},
      {"rope of neighbours", neighbours, {eight}},
      {"rope of a part", part, {twelve}},
      {"rope of long sequences", longer, {eight}},
      {"route", Route{.used = 2}, {five}},
      {"route by all", Route{.used = 2, .normalizes = false}, {five}},
      {"route with scales", Route{.used = 3, .scales = "s"}, {five}},
      {"route by sigmoids",
       Route{.used = 2, .score = Route::Score::sigmoid, .correction = "c", .factor = 2.5F},
       {five}},
      {"route by sigmoids as they are",
       Route{.used = 2, .normalizes = false, .scales = "s", .score = Route::Score::sigmoid, .sum_offset = 0.5F},
       {five}},
      {"route within groups",
       Route{.used = 2, .normalizes = false, .groups = 3, .groups_used = 2, .group_score = Route::GroupScore::largest},
       {six}},
      {"route by sigmoids within groups",
       Route{.used = 3, .score = Route::Score::sigmoid, .groups = 2, .groups_used = 1, .sum_offset = 0.25F},
       {six}},
      attention("attention", 0, 0, false),
      attention("attention within a window", 2, 0, false),
      attention("attention under a cap", 0, 1.5F, false),
      attention("attention with sinks", 0, 0, true),
      attention("attention with all of them", 3, 1.5F, true),
      {"latent_attention",
       LatentAttention{.heads = 2, .key_dim = 3, .rotary_dim = 2, .value_dim = 2, .latent = 5, .scale = 0.5F},
       {six, four, token_rows(10), token_rows(2)}},
      delta("gated_delta_rule", false),
      delta("gated_delta_rule of tiles", true),
  };
}

// A case with its numbers, at which the sum of the output's, each times one of its own, is looked at.
class Differentiated {
 public:
  explicit Differentiated(const Case& c) : case_(c) {
    std::visit(
        [&](const auto& op) {
          using Op = std::decay_t<decltype(op)>;
          uses_ = op.weights(c.shapes);
          output_width_ = numbers_per_token(op.output(c.shapes));
          for (std::size_t i = 0; i < c.shapes.size(); ++i)
            inputs_.push_back(numbers(kInputSeed + i, kTokens * numbers_per_token(c.shapes[i])));
          for (std::size_t i = 0; i < uses_.size(); ++i)
            weights_.push_back(numbers(kWeightSeed + i, count_of(uses_[i].shape)));
          if constexpr (std::is_same_v<Op, ExpertLinear> || std::is_same_v<Op, MixExperts>) ask_some_experts();
          if constexpr (std::is_same_v<Op, GatedDeltaRule>) {
            for (std::vector<float>& input : inputs_)
              for (float& x : input) x /= 2;
            for (float& rate : weights_[0]) rate = -std::abs(rate) - 0.25F;
          }
        },
        c.operation);
    coefficients_ = numbers(kOutputSeed, kTokens * output_width_);
  }

  std::vector<std::vector<float>>& inputs() { return inputs_; }
  std::vector<std::vector<float>>& weights() { return weights_; }
  const std::vector<float>& coefficients() const { return coefficients_; }

  std::vector<float> output(std::size_t begin = 0, std::size_t end = kTokens) const {
    std::vector<float> y((end - begin) * output_width_);
    std::visit([&](const auto& op) { op.evaluate(operands(begin, end), case_.shapes, y); }, case_.operation);
    return y;
  }

  double sum() const {
    const std::vector<float> y = output();
    double total = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
      total += static_cast<double>(y[i]) * static_cast<double>(coefficients_[i]);
    return total;
  }

  // What rounding the output may change of the sum.
  double rounding() const {
    const std::vector<float> y = output();
    double total = 0;
    for (std::size_t i = 0; i < y.size(); ++i) total += std::abs(static_cast<double>(y[i] * coefficients_[i]));
    return total * 0x1p-24;
  }

  struct Found {
    std::vector<std::vector<float>> inputs, weights;
  };
  Found nothing() const {
    Found found;
    for (const auto& x : inputs_) found.inputs.emplace_back(x.size());
    for (const auto& w : weights_) found.weights.emplace_back(w.size());
    return found;
  }
  // Of tokens begin .. end, added to what is there.
  void add(Found& found, std::size_t begin = 0, std::size_t end = kTokens, bool is_asked = true) const {
    Gradients into;
    for (std::vector<float>& x : found.inputs)
      into.inputs.push_back(is_asked ? part_of(std::span<float>(x), begin, end) : std::span<float>{});
    into.weight = [&](std::string_view part) {
      return is_asked ? std::span<float>(found.weights[place_of(part)]) : std::span<float>{};
    };
    const std::span<const float> dy = part_of(std::span<const float>(coefficients_), begin, end);
    std::visit([&](const auto& op) { op.gradient(operands(begin, end), case_.shapes, dy, into); }, case_.operation);
  }

 private:
  // Of three experts in a row one is not asked, and what it has is zero.
  void ask_some_experts() {
    const std::size_t experts = width_of(case_.shapes[1]);
    for (std::size_t i = 0; i < inputs_[1].size(); ++i)
      if ((i / experts + i % experts) % 3 == 0) {
        inputs_[1][i] = 0;
        const std::size_t width = width_of(case_.shapes[0]);
        if (std::holds_alternative<MixExperts>(case_.operation)) std::fill_n(&inputs_[0][i * width], width, 0.0F);
      }
  }
  std::size_t place_of(std::string_view part) const {
    for (std::size_t i = 0; i < uses_.size(); ++i)
      if (uses_[i].part == part) return i;
    ADD_FAILURE() << case_.name << " has no part " << part;
    return 0;
  }
  template <class T>
  static std::span<T> part_of(std::span<T> x, std::size_t begin, std::size_t end) {
    const std::size_t width = x.size() / kTokens;
    return x.subspan(begin * width, (end - begin) * width);
  }
  Operands operands(std::size_t begin, std::size_t end) const {
    Operands o{.tokens = end - begin,
               .inputs = {},
               .ids = part_of(std::span<const std::int32_t>(kIds), begin, end),
               .weight = [this](std::string_view part) { return std::span<const float>(weights_[place_of(part)]); },
               .position = begin,
               .length = kTokens};
    for (const auto& x : inputs_) o.inputs.push_back(part_of(std::span<const float>(x), begin, end));
    return o;
  }

  Case case_;
  std::vector<WeightUse> uses_;
  std::size_t output_width_ = 0;
  std::vector<std::vector<float>> inputs_, weights_;
  std::vector<float> coefficients_;
};

template <typename List>
struct AllOf;
template <typename... T>
struct AllOf<std::variant<T...>> {
  using Types = testing::Types<T...>;
};
template <typename T>
class GradientOf : public testing::Test {};
TYPED_TEST_SUITE(GradientOf, AllOf<Operation>::Types);

TYPED_TEST(GradientOf, IsTriedOrSaidNotToBe) {
  bool is_tried = false;
  for (const Case& c : cases()) is_tried = is_tried || std::holds_alternative<TypeParam>(c.operation);
  EXPECT_EQ(is_tried, TypeParam::kGradient.exists) << TypeParam::kName;
  EXPECT_EQ(TypeParam::kGradient.reason.empty(), TypeParam::kGradient.exists) << TypeParam::kName;
}

// What both say is rounded to f32, PyTorch's to nine digits; that of the delta rule works in f32.
void expect_close(const std::vector<float>& found, const nlohmann::json& expected, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  double scale = 0;
  for (const nlohmann::json& x : expected) scale = std::max(scale, std::abs(x.get<double>()));
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(static_cast<double>(found[i]), expected[i].get<double>(), tolerance * (scale + 1e-3))
        << what << ' ' << i;
}

TEST(Gradients, AreThoseOfPyTorch) {
  std::ifstream file(std::string(NIBBLE_SOURCE_DIR) + "/tests/data/gradients/operations.json");
  const nlohmann::json reference = nlohmann::json::parse(file);
  std::set<std::string> names;
  for (const Case& c : cases()) {
    names.insert(c.name);
    ASSERT_TRUE(reference.contains(c.name)) << c.name;
    const nlohmann::json& expected = reference[c.name];
    const Differentiated at(c);
    const double tolerance = std::holds_alternative<GatedDeltaRule>(c.operation) ? 4e-6 : 3e-7;
    EXPECT_NEAR(at.sum(), expected["sum"].get<double>(), 20 * tolerance * (1 + std::abs(at.sum()))) << c.name;
    Differentiated::Found found = at.nothing();
    at.add(found);
    for (std::size_t i = 0; i < found.inputs.size(); ++i)
      expect_close(found.inputs[i], expected["inputs"][i], tolerance, c.name + ", input " + std::to_string(i));
    for (std::size_t i = 0; i < found.weights.size(); ++i)
      expect_close(found.weights[i], expected["weights"][i], tolerance, c.name + ", weight " + std::to_string(i));
  }
  for (const auto& [name, unused] : reference.items()) EXPECT_TRUE(names.contains(name)) << name;
}

// By five points, at steps of 1/64 and 1/32: from both, how far the formula is from the slope; and from the outputs,
// what their rounding can do.
void expect_slope(const Differentiated& at, float& x, double found, const std::string& what) {
  constexpr double kStep = 1.0 / 64;
  const float before = x;
  const auto f = [&](double steps) {
    x = before + static_cast<float>(steps * kStep);
    return at.sum();
  };
  const double nearest = f(1) - f(-1), second = f(2) - f(-2), fourth = f(4) - f(-4);
  x = before;
  const double slope = (8 * nearest - second) / (12 * kStep), wider = (8 * second - fourth) / (24 * kStep);
  const double tolerance = 1.5 / kStep * at.rounding() + std::abs(slope - wider) / 8 + 1e-6 * std::abs(slope);
  EXPECT_LE(tolerance, 2e-3 * (1 + std::abs(slope))) << what;  // or it would say nothing
  EXPECT_NEAR(found, slope, tolerance) << what;
}

TEST(Gradients, AreSlopes) {
  for (const Case& c : cases()) {
    const auto* const route = std::get_if<Route>(&c.operation);
    if (route != nullptr && !route->correction.empty()) continue;  // corrections lie so that a step chooses others
    Differentiated at(c);
    Differentiated::Found found = at.nothing();
    at.add(found);
    const bool asks_experts =
        std::holds_alternative<ExpertLinear>(c.operation) || std::holds_alternative<MixExperts>(c.operation);
    for (std::size_t k = 0; k < found.inputs.size(); ++k)
      for (std::size_t i = 0; i < found.inputs[k].size(); ++i) {
        if (asks_experts && k == 1 && at.inputs()[k][i] == 0) continue;  // asking is no small step
        const auto* const clamped = std::get_if<ClampedSwiglu>(&c.operation);
        if (clamped != nullptr && std::abs(std::abs(at.inputs()[k][i]) - clamped->limit) < 0.125F) continue;  // a bend
        expect_slope(at, at.inputs()[k][i], static_cast<double>(found.inputs[k][i]),
                     c.name + ", input " + std::to_string(k) + ' ' + std::to_string(i));
      }
    for (std::size_t k = 0; k < found.weights.size(); ++k)
      for (std::size_t i = 0; i < found.weights[k].size(); ++i)
        expect_slope(at, at.weights()[k][i], static_cast<double>(found.weights[k][i]),
                     c.name + ", weight " + std::to_string(k) + ' ' + std::to_string(i));
  }
}

TEST(Gradients, AreAddedToWhatIsThere) {
  for (const Case& c : cases()) {
    const Differentiated at(c);
    Differentiated::Found once = at.nothing(), more = at.nothing();
    for (auto* const places : {&more.inputs, &more.weights})
      for (auto& place : *places) std::fill(place.begin(), place.end(), 64.0F);
    at.add(once);
    at.add(more);
    for (std::size_t k = 0; k < once.inputs.size(); ++k)
      for (std::size_t i = 0; i < once.inputs[k].size(); ++i)
        EXPECT_NEAR(more.inputs[k][i], 64 + once.inputs[k][i], 1e-4) << c.name;
    for (std::size_t k = 0; k < once.weights.size(); ++k)
      for (std::size_t i = 0; i < once.weights[k].size(); ++i)
        EXPECT_NEAR(more.weights[k][i], 64 + once.weights[k][i], 1e-4) << c.name;
  }
}

TEST(Gradients, NeedNotBeAskedFor) {
  for (const Case& c : cases()) {
    const Differentiated at(c);
    Differentiated::Found found = at.nothing();
    at.add(found, 0, kTokens, false);
  }
}

// What does not mix tokens is the same, forwards and backwards, of some tokens after others.
TEST(Gradients, OfSomeTokensAreThoseOfAll) {
  for (const Case& c : cases()) {
    if (std::visit([](const auto& op) { return op.kMixesTokens; }, c.operation)) continue;
    const Differentiated at(c);
    std::vector<float> parts = at.output(0, 2);
    for (const float y : at.output(2, kTokens)) parts.push_back(y);
    EXPECT_EQ(parts, at.output()) << c.name;
    Differentiated::Found whole = at.nothing(), pieces = at.nothing();
    at.add(whole);
    at.add(pieces, 0, 2);
    at.add(pieces, 2, kTokens);
    EXPECT_EQ(pieces.inputs, whole.inputs) << c.name;
    for (std::size_t k = 0; k < whole.weights.size(); ++k)
      for (std::size_t i = 0; i < whole.weights[k].size(); ++i)
        EXPECT_NEAR(pieces.weights[k][i], whole.weights[k][i], 1e-5) << c.name;
  }
}

// Who says that its inputs are not read gives the same whatever they are.
TEST(Gradients, ReadInputsOnlyWhereTheySaySo) {
  for (const Case& c : cases()) {
    if (std::visit([](const auto& op) { return op.kGradient.reads_inputs; }, c.operation)) continue;
    Differentiated at(c);
    Differentiated::Found known = at.nothing(), unknown = at.nothing();
    at.add(known);
    for (std::vector<float>& x : at.inputs()) std::fill(x.begin(), x.end(), NAN);
    at.add(unknown);
    EXPECT_EQ(unknown.inputs, known.inputs) << c.name;
  }
}

}  // namespace
}  // namespace nibble
