// SPDX-License-Identifier: Apache-2.0
//
// Whole networks there and back: the loss, and the gradient by every weight, as PyTorch finds them
// (tools/reference_gradients.py); and what must not change a bit of them.
#include "train/tape.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

// What the script makes numbers from: multiples of 1/1024 in -2 .. 2.
double number(std::uint64_t seed, std::uint64_t i) {
  return static_cast<double>((i * 7919 + seed * 104729 + i * i * 31) % 4096) / 1024 - 2;
}

struct Reference {
  nlohmann::json json;
  SequenceBatch batch;
  std::vector<std::int32_t> ids, targets;

  explicit Reference(const std::string& name)
      : json(nlohmann::json::parse(read_text(data_directory() / "gradients" / (name + ".json")))) {
    const auto windows = json["windows"].get<std::vector<std::vector<std::int32_t>>>();
    batch = {windows.size(), windows[0].size() - 1};
    for (const std::vector<std::int32_t>& window : windows) {
      ids.insert(ids.end(), window.begin(), window.end() - 1);
      targets.insert(targets.end(), window.begin() + 1, window.end());
    }
  }
};

// The script's teacher: numbers of each window's own.
TeacherLogits teacher_of(const Reference& reference) {
  const std::size_t length = reference.batch.length;
  return {.fill =
              [length](std::size_t first, std::span<float> logits) {
                const std::size_t vocabulary = 200;
                for (std::size_t i = 0; i < logits.size(); ++i) {
                  const std::size_t place = first * vocabulary + i, window = place / (length * vocabulary);
                  logits[i] = static_cast<float>(number(50 + window, place % (length * vocabulary)));
                }
              },
          .tokens = reference.batch.tokens()};
}

// By what a Hugging Face file holds, where the network reads something else.
std::vector<double> by_stored(const SourceModel& model, const NetworkWeight& weight) {
  const StoredNumbers numbers = model.parts().part(weight.part, weight.layer)->hf_numbers;
  std::vector<double> gradient(weight.gradient.begin(), weight.gradient.end());
  for (std::size_t i = 0; i < gradient.size() && numbers.is_log_of_minus; ++i)
    gradient[i] *= static_cast<double>(weight.values.values[i]);
  return gradient;
}

// tolerance: of the gradient's norm.
void expect_gradients(const SourceModel& model, const NetworkWeights& weights, const nlohmann::json& expected,
                      double tolerance) {
  std::size_t compared = 0;
  for (const NetworkWeight& weight : weights.all()) {
    SCOPED_TRACE(weight.name);
    ASSERT_TRUE(expected.contains(weight.name));
    ++compared;
    const std::vector<double> gradient = by_stored(model, weight);
    double squares = 0, sums[4] = {};
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      squares += gradient[i] * gradient[i];
      for (std::uint64_t seed = 0; seed < 4; ++seed) sums[seed] += gradient[i] * number(seed, i);
    }
    const double norm = expected[weight.name]["norm"];
    // A factor in front of a norm changes nothing: what is left of its gradient is rounding.
    const double most = tolerance * norm + 1e-6;
    EXPECT_NEAR(std::sqrt(squares), norm, most);
    // An error of that size, at random, is that many times as large along a vector of numbers around 1.2.
    for (std::size_t seed = 0; seed < 4; ++seed)
      EXPECT_NEAR(sums[seed], expected[weight.name]["sums"][seed].get<double>(), 6 * most) << seed;
  }
  EXPECT_EQ(compared, expected.size());
}

class OfModel : public testing::TestWithParam<std::string> {};

TEST_P(OfModel, LossAndGradientsAreThoseOfPyTorch) {
  const SourceModel model = SourceModel::open(data_directory() / GetParam());
  const Reference reference(GetParam());
  Machine machine(chosen_isa(), 2);
  NetworkWeights weights(model, machine.pool);
  weights.train([](const NetworkWeight&) { return true; });
  Tape tape(model.parts().network(), weights, {}, machine);
  const std::map<std::string, LossFunction> losses = {
      {"next_token", next_token_loss(reference.targets, machine)},
      {"divergence", divergence_loss(teacher_of(reference), machine)},
  };
  for (const auto& [name, loss] : losses) {
    if (name == "divergence" && model.config().vocab_size != 200) continue;
    SCOPED_TRACE(name);
    weights.clear_gradients(machine.pool);
    const double found = tape.run(reference.ids, reference.batch, loss, Tape::Walk::there_and_back);
    const double expected = reference.json[name]["loss"];
    EXPECT_NEAR(found, expected, 2e-6 * expected);
    // There the delta rule is always in float32.
    expect_gradients(model, weights, reference.json[name]["gradients"], GetParam() == "tiny_qwen35" ? 1e-4 : 3e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Tape, OfModel,
                         testing::Values("tiny_gqa_llama3rope", "tiny_tied", "tiny_qwen3", "tiny_qwen3moe",
                                         "tiny_qwen35", "tiny_gemma2", "tiny_gemma4", "tiny_gptoss", "tiny_mistral3",
                                         "tiny_bitnet", "tiny_granite"));

// A model there and back, and what it leaves.
struct Walked {
  double loss = 0;
  std::vector<std::vector<float>> gradients;
  bool operator==(const Walked&) const = default;
};

Walked walked(
    const SourceModel& model, const Reference& reference, const TapeOptions& options, std::size_t threads,
    const std::function<bool(const NetworkWeight&)>& is_trained = [](const NetworkWeight&) { return true; }) {
  Machine machine(chosen_isa(), threads);
  NetworkWeights weights(model, machine.pool);
  weights.train(is_trained);
  Tape tape(model.parts().network(), weights, options, machine);
  Walked result;
  result.loss =
      tape.run(reference.ids, reference.batch, next_token_loss(reference.targets, machine), Tape::Walk::there_and_back);
  for (const NetworkWeight& weight : weights.all()) result.gradients.push_back(weight.gradient);
  return result;
}

double distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += (static_cast<double>(a[i]) - static_cast<double>(b[i])) *
           (static_cast<double>(a[i]) - static_cast<double>(b[i]));
  return std::sqrt(sum);
}

// What a small cache changes of an engine's logits changes here, too. The engine rounds queries as well where it
// multiplies integers.
TEST(Tape, KeysAndValuesAreThoseOfACache) {
  for (const std::string name : {"tiny_qwen3", "tiny_gqa_llama3rope"}) {
    const SourceModel model = SourceModel::open(data_directory() / name);
    Machine machine(chosen_isa(), 2);
    NetworkWeights weights(model, machine.pool);
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < 40; ++i) ids.push_back(static_cast<std::int32_t>(i * i * 7 % 150));
    const auto logits_of_tape = [&](KvType kv) {
      std::vector<float> logits;
      Tape tape(model.parts().network(), weights, {.kv = kv}, machine);
      tape.show_logits(ids, {1, ids.size()}, [&](std::size_t, std::span<const float> some) {
        logits.insert(logits.end(), some.begin(), some.end());
      });
      return logits;
    };
    const std::vector<float> exact = logits_of_tape(KvType::f32);
    for (const auto& [kv, share] :
         {std::pair(KvType::f16, 0.3), std::pair(KvType::q8_0, 0.9), std::pair(KvType::q4_0, 0.3)}) {
      DecoderOptions options = exact_options();
      options.kv = kv;
      Decoder decoder(SourceModel::open(data_directory() / name), options, machine);
      const std::vector<float> engine = all_logits(decoder, ids), found = logits_of_tape(kv);
      EXPECT_LT(distance(found, engine), share * distance(exact, engine)) << name << ' ' << kv_type_name(kv);
    }
  }
}

// On the way back what was rounded stands where it stood, and slopes pass through it.
TEST(Tape, SlopesPassThroughACache) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  const Reference reference("tiny_qwen3");
  const Walked exact = walked(model, reference, {}, 1), eight = walked(model, reference, {.kv = KvType::q8_0}, 1),
               four = walked(model, reference, {.kv = KvType::q4_0}, 1);
  EXPECT_EQ(eight, walked(model, reference, {.kv = KvType::q8_0}, 3));
  double norm = 0, by_eight = 0, by_four = 0;
  for (std::size_t i = 0; i < exact.gradients.size(); ++i) {
    const std::vector<float> zeros(exact.gradients[i].size());
    norm += std::pow(distance(exact.gradients[i], zeros), 2);
    by_eight += std::pow(distance(exact.gradients[i], eight.gradients[i]), 2);
    by_four += std::pow(distance(exact.gradients[i], four.gradients[i]), 2);
  }
  EXPECT_GT(by_eight, 0);
  EXPECT_LT(std::sqrt(by_eight), 0.05 * std::sqrt(norm));
  EXPECT_LT(std::sqrt(by_four), 0.6 * std::sqrt(norm));
  EXPECT_GT(by_four, 4 * by_eight);
}

TEST(Tape, GivesTheSameBitsForAnyNumberOfThreads) {
  for (const std::string name : {"tiny_qwen3", "tiny_qwen3moe", "tiny_qwen35", "tiny_gemma4"}) {
    const SourceModel model = SourceModel::open(data_directory() / name);
    const Reference reference(name);
    for (const ProductArithmetic arithmetic : {ProductArithmetic::f32, ProductArithmetic::bf16}) {
      if (arithmetic == ProductArithmetic::bf16 && !multiplies_bf16(chosen_isa())) continue;
      const TapeOptions options = {.arithmetic = arithmetic, .most_logits = 200 * 20};
      const Walked one = walked(model, reference, options, 1);
      EXPECT_TRUE(one == walked(model, reference, options, 3)) << name;
      EXPECT_TRUE(one == walked(model, reference, options, 3)) << name << ", again";
    }
  }
}

// Rounding factors to eight bits moves a gradient by some hundredths of it.
TEST(Tape, InBf16IsNearF32) {
  if (!multiplies_bf16(chosen_isa())) GTEST_SKIP() << "no bf16 products here";
  const SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  const Reference reference("tiny_qwen3");
  const Walked exact = walked(model, reference, {.arithmetic = ProductArithmetic::f32}, 2),
               rounded = walked(model, reference, {.arithmetic = ProductArithmetic::bf16}, 2);
  EXPECT_NE(exact.loss, rounded.loss);
  EXPECT_NEAR(exact.loss, rounded.loss, 0.02 * exact.loss);
  for (std::size_t k = 0; k < exact.gradients.size(); ++k) {
    double apart = 0, squares = 0;
    for (std::size_t i = 0; i < exact.gradients[k].size(); ++i) {
      const double x = static_cast<double>(exact.gradients[k][i]), y = static_cast<double>(rounded.gradients[k][i]);
      apart += (x - y) * (x - y);
      squares += x * x;
    }
    EXPECT_LE(apart, 0.1 * 0.1 * squares) << k;
  }
}

// What is not trained has no gradient, and changes nobody else's.
TEST(Tape, FrozenWeightsAreLeftOut) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_gemma4");
  const Reference reference("tiny_gemma4");
  const Walked all = walked(model, reference, {}, 2);
  for (const auto& is_trained : std::vector<std::function<bool(const NetworkWeight&)>>{
           [](const NetworkWeight& w) { return w.role == TensorRole::norm; },
           [](const NetworkWeight& w) { return w.layer == 1; },
           [](const NetworkWeight& w) { return w.layer == Network::kBegin; },
           [](const NetworkWeight&) { return false; }}) {
    const Walked some = walked(model, reference, {}, 2, is_trained);
    EXPECT_EQ(some.loss, all.loss);
    for (std::size_t k = 0; k < all.gradients.size(); ++k)
      EXPECT_TRUE(some.gradients[k].empty() || some.gradients[k] == all.gradients[k]) << k;
  }
}

// A loss that is none is told, with where it went astray.
TEST(Tape, SaysWhereNumbersGoAstray) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  const Reference reference("tiny_qwen3");
  Machine machine(chosen_isa(), 1);
  NetworkWeights weights(model, machine.pool);
  weights.train([](const NetworkWeight&) { return true; });
  Tape tape(model.parts().network(), weights, {}, machine);
  const LossFunction loss = next_token_loss(reference.targets, machine);
  EXPECT_TRUE(std::isfinite(tape.run(reference.ids, reference.batch, loss, Tape::Walk::there)));
  EXPECT_EQ(tape.first_unsound(), std::nullopt);
  weights.find(1, "down")->values.values[3] = INFINITY;
  EXPECT_FALSE(std::isfinite(tape.run(reference.ids, reference.batch, loss, Tape::Walk::there_and_back)));
  EXPECT_EQ(tape.first_unsound(), 1);
}

// Of Linears' outputs, with nothing trained.
TEST(Tape, ShowsGradientsByOutputs) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  const Reference reference("tiny_qwen3");
  Machine machine(chosen_isa(), 2);
  NetworkWeights weights(model, machine.pool);
  std::map<std::string, std::vector<double>> squares;  // by token
  const auto watch = [&](std::int64_t layer, const Linear& op, std::span<const float>,
                         std::span<const float> gradient) {
    std::vector<double>& sums = squares[model.parts().part(op.part, layer)->hf_name];
    sums.resize(reference.batch.tokens());
    for (std::size_t i = 0; i < gradient.size(); ++i)
      sums[i / op.rows] += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
  };
  Tape tape(model.parts().network(), weights, {.watch = watch}, machine);
  tape.run(reference.ids, reference.batch, next_token_loss(reference.targets, machine), Tape::Walk::there_and_back);
  EXPECT_EQ(squares.size(), 2u * 7u);
  ASSERT_EQ(reference.json["output_squares"].size(), 3u);
  for (const auto& [name, expected] : reference.json["output_squares"].items()) {
    const std::vector<double>& found = squares.at(name + ".weight");
    const double largest = *std::ranges::max_element(found);
    for (std::size_t t = 0; t < found.size(); ++t)
      EXPECT_NEAR(found[t], expected[t].get<double>(), 1e-4 * largest) << name << ' ' << t;
  }
}

// Tokens behind which nothing is to be predicted count for nothing.
TEST(Tape, LeavesOutWhatHasNoTarget) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  Reference all("tiny_qwen3"), half("tiny_qwen3");
  half.batch.sequences = 1;
  half.ids.resize(half.batch.tokens());
  half.targets.resize(half.batch.tokens());
  std::fill(all.targets.begin() + static_cast<std::ptrdiff_t>(all.batch.length), all.targets.end(), kNoTarget);
  const Walked one = walked(model, half, {}, 1), masked = walked(model, all, {}, 1);
  EXPECT_NEAR(one.loss, masked.loss, 1e-12);
  for (std::size_t k = 0; k < one.gradients.size(); ++k)
    EXPECT_LE(relative_difference(masked.gradients[k], one.gradients[k]), 1e-5) << k;
}

}  // namespace
}  // namespace nibble
