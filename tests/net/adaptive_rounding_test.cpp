// SPDX-License-Identifier: Apache-2.0
//
// Rounding that is learned by layer: against PyTorch (tools/reference_adaptive_rounding.py), and in whole nets.
#include "net/quantize/adaptive_rounding.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "base/mapped_file.h"
#include "io/onnx/onnx_model.h"
#include "net/net_pen.h"
#include "net/quantize/quantize_net.h"
#include "net/tiny_nets.h"

namespace nibble {
namespace {

class AdaptiveRoundingReference : public testing::Test {
 protected:
  AdaptiveRoundingReference() {
    const MappedFile file(tiny_net("adaptive_rounding.json"));
    json_ = nlohmann::json::parse(reinterpret_cast<const char*>(file.bytes().data()),
                                  reinterpret_cast<const char*>(file.bytes().data()) + file.bytes().size());
    options_ = {.steps = json_["steps"], .batch = json_["batch"], .rate = json_["rate"]};
    // What PyTorch was told.
    EXPECT_EQ(json_["lambda"], kRoundingWeight);
    EXPECT_EQ(json_["beta_first"], kFirstPower);
    EXPECT_EQ(json_["beta_last"], kLastPower);
    EXPECT_EQ(json_["warm_up"], kWarmUp);
  }

  // Calls body(case, its rows).
  template <class Body>
  void each_case(Body body) {
    for (const nlohmann::json& one : json_["cases"]) {
      SCOPED_TRACE(one["name"].get<std::string>());
      const std::vector<float> x = one["x"], y = one["y"], weights = one["weights"], bias = one["bias"],
                               scales = one["scales"];
      RowsToRound rows{.rows = json_["rows"],
                       .cols = json_["cols"],
                       .weights = weights,
                       .scales = scales,
                       .bias = bias,
                       .low = json_["low"],
                       .high = json_["high"],
                       .x = x,
                       .y = y};
      if (!one["least"].is_null()) rows.least = one["least"];
      if (!one["most"].is_null()) rows.most = one["most"];
      body(one, rows);
    }
  }

  nlohmann::json json_;
  AdaptiveRoundingOptions options_;
  Machine machine_{Isa::scalar, 2};
};

TEST_F(AdaptiveRoundingReference, HasItsSlopes) {
  const double beta = json_["slope_beta"];
  each_case([&](const nlohmann::json& one, const RowsToRound& rows) {
    AdaptiveRounding learning(rows, options_, machine_);
    const std::vector<float> begin = one["begin"], expected = one["slopes"];
    for (std::size_t i = 0; i < begin.size(); ++i) EXPECT_NEAR(learning.variables()[i], begin[i], 1e-5F);
    EXPECT_NEAR(learning.loss(0, options_.batch, beta), one["loss"].get<double>(), 1e-5 * one["loss"].get<double>());
    learning.find_slopes(0, options_.batch, beta);
    float largest = 0;
    for (const float slope : expected) largest = std::max(largest, std::abs(slope));
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(learning.slopes()[i], expected[i], 1e-5F * largest) << i;
    // What the loss does when V moves: differences are exact to h^2, and to what f32 leaves of a loss divided by h.
    const std::vector<float> slopes(learning.slopes().begin(), learning.slopes().end());
    constexpr float kStep = 0x1p-8F;
    for (std::size_t i = 0; i < slopes.size(); i += 7) {
      const float at = learning.variables()[i];
      learning.variables()[i] = at + kStep;
      const double above = learning.loss(0, options_.batch, beta);
      learning.variables()[i] = at - kStep;
      const double below = learning.loss(0, options_.batch, beta);
      learning.variables()[i] = at;
      EXPECT_NEAR(static_cast<double>(slopes[i]), (above - below) / (2 * static_cast<double>(kStep)),
                  2e-3 * static_cast<double>(largest))
          << i;
    }
  });
}

TEST_F(AdaptiveRoundingReference, LearnsItsCodes) {
  each_case([&](const nlohmann::json& one, const RowsToRound& rows) {
    AdaptiveRounding learning(rows, options_, machine_);
    learning.learn();
    const std::vector<float> expected = one["variables"];
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(learning.variables()[i], expected[i], 0.01F) << i;
    const std::vector<std::int8_t> codes = learning.codes();
    EXPECT_EQ(codes, one["codes"].get<std::vector<std::int8_t>>());
    std::vector<float> weights(codes.size());
    for (std::size_t i = 0; i < codes.size(); ++i) weights[i] = rows.scales[i / rows.cols] * codes[i];
    double error = 0;
    for (const double of_row : row_errors(rows, weights, machine_)) error += of_row;
    EXPECT_NEAR(error, one["error"].get<double>(), 1e-5 * error);
    EXPECT_LT(error, 0.8 * one["nearest_error"].get<double>());
    // The same bits with any threads and instruction set.
    Machine other(choose_isa(detect_cpu(), ""), 3);
    AdaptiveRounding again(rows, options_, other);
    again.learn();
    EXPECT_TRUE(std::ranges::equal(again.variables(), learning.variables()));
  });
}

class LearnedNet : public testing::Test {
 protected:
  static std::vector<NetSample> samples_of(const Net& net, std::size_t count) {
    std::mt19937_64 generator(5);
    std::normal_distribution<float> normal;
    std::vector<NetSample> samples(count);
    for (NetSample& sample : samples)
      for (const NetPort& input : net.inputs) {
        sample.emplace_back(numbers_of(net.graph.values[input.value]));
        for (float& x : sample.back()) x = normal(generator);
      }
    return samples;
  }
  NetQuantization quantize(const Net& net, const std::string& method, const AdaptiveRoundingOptions& learning,
                           std::size_t threads = 2) {
    Machine machine(Isa::scalar, threads);
    return quantize_net(
        net, samples_of(net, 48),
        {.weight_bits = 4, .method = method, .learning = learning, .equalizes = false, .corrects_biases = false},
        machine);
  }
};

TEST_F(LearnedNet, LosesLessThanWhatItBeginsFrom) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  // Convolutions, some of them in groups, and matrices.
  const Net net = open_net(tiny_net("mobile.onnx"), {.simplifies = true});
  const AdaptiveRoundingOptions some{.steps = 120, .batch = 64, .rate = 0.03};
  const NetQuantization made = quantize(net, "adaround", some), plain = quantize(net, "descent", {}),
                        again = quantize(net, "adaround", some, 5);
  EXPECT_EQ(plain.layers.learned, 0u);
  EXPECT_EQ(made.layers.learned, 2u);
  EXPECT_GT(made.layers.taken, 0u);
  EXPECT_LT(made.made.worst, plain.made.worst);
  for (const auto& [part, codes] : made.codes) {
    EXPECT_TRUE(std::ranges::all_of(codes.codes, [](std::int8_t code) { return code >= -8 && code <= 7; })) << part;
    EXPECT_EQ(codes.codes, again.codes.at(part).codes) << part;
  }
}

TEST_F(LearnedNet, KeepsWhatItBeganFromWhereThatIsBetter) {
  if (!has_onnx()) GTEST_SKIP() << kOnnxMissing;
  const Net net = open_net(tiny_net("classifier.onnx"), {.simplifies = true});
  // One step so large that every weight goes where its first slope points.
  const NetQuantization made = quantize(net, "adaround", {.steps = 1, .rate = 10}),
                        plain = quantize(net, "descent", {});
  EXPECT_EQ(made.layers.learned, 3u);
  EXPECT_EQ(made.layers.taken, 0u);
  for (const auto& [part, codes] : plain.codes) EXPECT_EQ(made.codes.at(part).codes, codes.codes) << part;
}

}  // namespace
}  // namespace nibble
