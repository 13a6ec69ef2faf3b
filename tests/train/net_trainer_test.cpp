// SPDX-License-Identifier: Apache-2.0
//
// Small nets that learn: what labels say, what a teacher says, in f32 and in few bits.
#include "train/net/net_trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "base/scratch_directory.h"
#include "kernels/chosen_isa.h"
#include "net/net_pen.h"
#include "net/signs.h"
#include "net/simplify.h"
#include "nibble/error.h"
#include "train/net/net_preparation.h"

namespace nibble {
namespace {

// Pictures of 6 x 6 with a line that lies or stands, and noise.
struct Lines {
  std::vector<NetSample> samples;
  std::vector<std::int64_t> labels;

  Lines(std::size_t count, std::uint64_t seed) {
    Random random(seed);
    for (std::size_t i = 0; i < count; ++i) {
      std::vector<float> picture;
      for (std::size_t k = 0; k < 36; ++k) picture.push_back(static_cast<float>(0.3 * random.normal()));
      const std::size_t place = random.below(6);
      for (std::size_t k = 0; k < 6; ++k) picture[i % 2 == 0 ? place * 6 + k : k * 6 + place] += 1.0F;
      samples.push_back({picture});
      labels.push_back(static_cast<std::int64_t>(i % 2));
    }
  }
  NetExamples view() const { return {samples, labels}; }
};

// Convolution, norm, Relu, three times; then a matrix and shares.
Net small_net() {
  NetPen pen;
  NetValue h = pen.input("x", NumberType::f32, {1, 1, 6, 6});
  std::uint64_t channels = 1;
  for (const char* const part : {"a", "b", "c"}) {
    pen.put(part, std::vector<float>(8 * channels * 9, 0));
    h = pen.apply(Convolution{part, false, 8, 1, Window{{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}}, {h});
    const std::string norm = std::string(part) + ".norm";
    for (const char* const zeros : {".bias", ".mean"}) pen.put(norm + zeros, std::vector<float>(8, 0));
    for (const char* const ones : {"", ".variance"}) pen.put(norm + ones, std::vector<float>(8, 1));
    h = pen.unary(Unary::Kind::relu, pen.apply(BatchNorm{norm}, {h}));
    channels = 8;
  }
  h = pen.apply(Pooling{Pooling::Kind::maximum, Window{{6, 6}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}}, {h});
  pen.put("d", std::vector<float>(16, 0));
  Linear last;
  last.part = "d";
  last.rows = 2;
  h = pen.apply(last, {pen.reshape(h, Extents{1, 8})});
  pen.output("y", pen.apply(Softmax{1}, {h}));
  Net net = std::move(pen).finish();
  net.source = "lines";
  draw_weights(net, 3);
  return net;
}

NetTrainerSettings brief() {
  NetTrainerSettings settings;
  settings.epochs = 6;
  settings.batch = 20;
  settings.rate = 5e-3;
  return settings;
}

class NetTraining : public testing::Test {
 protected:
  // What is stored of a run, and how many of the held-out pictures it decides rightly.
  struct Run {
    Net net;
    NetCodes codes;
    NetJudgement kept;
  };

  Run run(Net net, const std::map<std::string, FormatPtr>& formats, std::size_t threads) {
    Machine machine(chosen_isa(), threads);
    NetworkWeights weights(weights_of(net));
    weights.train(is_learnt);
    std::vector<RoundedWeights> rounded;
    for (const auto& [part, format] : formats)
      rounded.emplace_back(weights, std::map<std::string, FormatPtr>{{part, format}}, nullptr, machine.pool);
    NetTrainer trainer(net, weights, {training_.view(), held_out_.view()}, brief(), machine, {.rounded = rounded});
    while (!trainer.is_done()) trainer.step();
    trainer.keep_best();
    Run made{std::move(net), {}, *trainer.best()};
    put_weights(weights, made.net);
    made.codes = take_codes(made.net, rounded, machine.pool);
    return made;
  }

  std::uint64_t right(const Net& net) const {
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < held_out_.samples.size(); ++i) {
      const std::vector<float> shares = evaluate(net, held_out_.samples[i], nullptr)[0];
      count += (shares[1] > shares[0]) == (held_out_.labels[i] == 1) ? 1 : 0;
    }
    return count;
  }

  Lines training_{200, 1}, held_out_{100, 2};
};

TEST_F(NetTraining, LearnsWhatLabelsSay) {
  const Run made = run(small_net(), {}, 2);
  EXPECT_GE(made.kept.right, 90u);
  EXPECT_EQ(made.kept.examples, 100u);
  // What is left of it after folding decides alike.
  EXPECT_EQ(right(made.net), made.kept.right);
}

TEST_F(NetTraining, LearnsInFewBits) {
  for (const char* const format : {"int4:row", "int2:row:half", "ternary:row", "binary:row"}) {
    const Run made = run(small_net(), {{"b", find_format(format)}, {"c", find_format(format)}}, 2);
    EXPECT_GE(made.kept.right, 90u) << format;
    EXPECT_NEAR(static_cast<double>(right(made.net)), static_cast<double>(made.kept.right), 1) << format;
    ASSERT_EQ(made.codes.size(), 2u);
    const WeightCodes& codes = made.codes.at("b");
    EXPECT_EQ(codes.rows, 8u);
    const int most = std::string(format).starts_with("int4") ? 8 : std::string(format).starts_with("int2") ? 3 : 1;
    for (std::size_t i = 0; i < codes.codes.size(); ++i) {
      EXPECT_LE(std::abs(codes.codes[i]), most);
      EXPECT_TRUE(codes.bits != 1 || codes.codes[i] != 0);
      ASSERT_EQ(made.net.weight("b")[i], static_cast<float>(codes.codes[i]) * codes.scales[i / 72]);
    }
  }
}

// The first step of Adam goes as far as the rate says, whatever the slope: by a share of what a matrix begins with.
TEST_F(NetTraining, RelativeRatesAreSharesOfWhatAMatrixBeginsWith) {
  Net net = small_net();
  for (float& number : net.weights.find("c")->second) number *= 100;
  Machine machine(chosen_isa(), 2);
  NetworkWeights weights(weights_of(net));
  weights.train(is_learnt);
  NetTrainerSettings settings = brief();
  settings.rate = 0.02;
  settings.is_relative = true;
  settings.fall = RateFall::constant;
  NetTrainer trainer(net, weights, {training_.view(), held_out_.view()}, settings, machine);
  trainer.step();
  for (const char* const part : {"a", "c", "d"}) {
    const std::span<const float> before = net.weight(part);
    const std::vector<float>& after = weights.find(Network::kBegin, part)->values.values;
    double square = 0;
    for (const float x : before) square += static_cast<double>(x) * static_cast<double>(x);
    const double wanted = 0.02 * std::sqrt(square / static_cast<double>(before.size()));
    std::vector<double> steps;
    for (std::size_t i = 0; i < before.size(); ++i)
      steps.push_back(std::abs(static_cast<double>(after[i]) - static_cast<double>(before[i])));
    std::ranges::nth_element(steps, steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2));
    EXPECT_NEAR(steps[steps.size() / 2], wanted, 0.01 * wanted) << part;
  }
}

TEST_F(NetTraining, LearnsWithSigns) {
  Net net = small_net();
  ASSERT_TRUE(put_signs_before(net, "b"));
  ASSERT_TRUE(put_signs_before(net, "c"));
  const Run made = run(net, {{"b", find_format("binary:row")}, {"c", find_format("binary:row")}}, 2);
  EXPECT_GE(made.kept.right, 85u);
  // The Relus before are gone, and products read 1 and -1.
  std::size_t relus = 0, signs = 0;
  const std::vector<const Node*> makers = makers_of(made.net.graph);
  for (const Node& node : made.net.graph.nodes) {
    if (const auto* const unary = std::get_if<Unary>(&node.operation))
      relus += unary->kind == Unary::Kind::relu ? 1 : 0;
    signs += signs_of(made.net, makers, node) ? 1 : 0;
  }
  EXPECT_EQ(relus, 1u);
  EXPECT_EQ(signs, 2u);
}

TEST_F(NetTraining, LearnsWhatATeacherSays) {
  const Run taught = run(small_net(), {}, 2);
  Net teacher = taught.net;
  Machine machine(chosen_isa(), 2);
  NetworkWeights teacher_weights(weights_of(teacher));
  NetTape tape(teacher, teacher_weights, machine);
  Net net = small_net();
  draw_weights(net, 9);
  NetworkWeights weights(weights_of(net));
  weights.train(is_learnt);
  NetTrainer trainer(net, weights, {{training_.samples, {}}, {held_out_.samples, {}}}, brief(), machine,
                     {.teacher = &tape, .taught = &teacher});
  while (!trainer.is_done()) trainer.step();
  ASSERT_EQ(trainer.judgements().size(), 7u);
  EXPECT_GE(trainer.best()->right, 88u);
  EXPECT_LT(trainer.best()->loss, trainer.judgements().front().loss / 4);
}

TEST_F(NetTraining, SameBitsForAnyNumberOfThreads) {
  const std::map<std::string, FormatPtr> formats = {{"b", find_format("ternary:row")}};
  const Run one = run(small_net(), formats, 1), three = run(small_net(), formats, 3);
  EXPECT_EQ(one.net.weights, three.net.weights);
  EXPECT_EQ(one.kept.loss, three.kept.loss);
}

TEST_F(NetTraining, GoesOnWhereItWasSaved) {
  const ScratchDirectory scratch;
  const std::filesystem::path state = scratch.path() / "state";
  Machine machine(chosen_isa(), 2);
  std::vector<std::vector<float>> made;
  for (const bool is_interrupted : {false, true}) {
    const Net net = small_net();
    std::optional<NetworkWeights> weights;
    std::optional<NetTrainer> trainer;
    std::vector<RoundedWeights> rounded;
    const auto begin = [&] {
      weights.emplace(weights_of(net));
      weights->train(is_learnt);
      rounded.clear();
      rounded.emplace_back(*weights, std::map<std::string, FormatPtr>{{"b", find_format("int4:row")}}, nullptr,
                           machine.pool);
      trainer.emplace(net, *weights, NetTrainingData{training_.view(), held_out_.view()}, brief(), machine,
                      NetTrainingHelp{.rounded = rounded});
    };
    begin();
    for (std::size_t i = 0; i < 33; ++i) trainer->step();
    if (is_interrupted) {
      trainer->save(state, {{"net", "lines"}});
      begin();
      trainer->take_up(state, {{"net", "lines"}});
      EXPECT_EQ(trainer->steps_done(), 33u);
      EXPECT_EQ(trainer->judgements().size(), 4u);
      EXPECT_THROW(trainer->take_up(state, {{"net", "circles"}}), Error);
    }
    while (!trainer->is_done()) trainer->step();
    trainer->keep_best();
    made.push_back(weights->find(Network::kBegin, "b")->values.values);
  }
  EXPECT_EQ(made[0], made[1]);
}

TEST_F(NetTraining, LabelsThatAreNoClassesAreRefused) {
  Machine machine(chosen_isa(), 1);
  const Net net = small_net();
  NetworkWeights weights(weights_of(net));
  weights.train(is_learnt);
  training_.labels[4] = 2;
  const auto refused = [&](const NetTrainerSettings& settings) {
    try {
      const NetTrainer trainer(net, weights, {training_.view(), {}}, settings, machine);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refused(brief()), "label 5 of the examples to learn from is no class of lines, which has 2: 2");
  training_.labels[4] = 0;
  EXPECT_EQ(refused(brief()), "");  // nothing that is held out needs no labels
  NetTrainerSettings settings = brief();
  settings.batch = 300;
  EXPECT_EQ(refused(settings),
            "there are fewer examples than a batch takes; give more, or take smaller batches: 200 of 300");
}

TEST_F(NetTraining, ANetWithoutWeightsIsNamed) {
  NetPen pen;
  NetValue h = pen.input("x", NumberType::f32, {1, 1, 6, 6});
  pen.output("y", pen.apply(Softmax{1}, {pen.reshape(h, Extents{1, 36})}));
  Net net = std::move(pen).finish();
  net.source = "empty.onnx";
  Machine machine(chosen_isa(), 1);
  NetworkWeights weights(weights_of(net));
  weights.train(is_learnt);
  try {
    const NetTrainer trainer(net, weights, {training_.view(), held_out_.view()}, brief(), machine);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "empty.onnx: has no weights that training reaches; give a net with matrices or convolutions of its "
                 "own");
  }
}

// A factor of a norm that is negative turns the codes of its row.
TEST(TakeCodes, FollowsNegativeFactors) {
  NetPen pen;
  const NetValue x = pen.input("x", NumberType::f32, {1, 1, 1, 1});
  pen.put("w", {-8, 8});
  NetValue h = pen.apply(Convolution{"w", false, 2, 1, Window{{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}}, {x});
  pen.put("n", {-0.5F, 2});
  pen.put("n.bias", {1, 2});
  pen.put("n.mean", {0, 0});
  pen.put("n.variance", {1, 1});
  pen.output("y", pen.apply(BatchNorm{"n", 0}, {h}));
  Net net = std::move(pen).finish();
  ThreadPool pool(1);
  NetworkWeights weights(weights_of(net));
  weights.train(is_learnt);
  std::vector<RoundedWeights> rounded;
  rounded.emplace_back(weights, std::map<std::string, FormatPtr>{{"w", find_format("binary:row")}}, nullptr, pool);
  const NetCodes codes = take_codes(net, rounded, pool);
  EXPECT_EQ(codes.at("w").codes, (std::vector<std::int8_t>{1, 1}));
  EXPECT_EQ(codes.at("w").scales, (std::vector<float>{4, 16}));
  EXPECT_EQ(evaluate(net, std::vector<std::vector<float>>{{3}}, nullptr)[0], (std::vector<float>{13, 50}));
}

}  // namespace
}  // namespace nibble
