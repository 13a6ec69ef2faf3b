// SPDX-License-Identifier: Apache-2.0
//
// Rounding for errors of outputs that cost more or less together: the codes of tools/reference_curvature.py, which
// finds them element by element; and what it is for, a smaller tr(O E I E^T), in every kind of format.
#include "quantize/output_feedback.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "kernels/chosen_isa.h"
#include "quantize/quantize_linear.h"

namespace nibble {
namespace {

struct Problem {
  std::size_t rows = 0, cols = 0;
  std::vector<float> weights, outputs;
  SiteStatistics inputs;

  std::vector<float> rounded(const std::string& format, const Method& method, bool weighs_outputs,
                             std::size_t threads = 2) const {
    Machine machine(chosen_isa(), threads);
    QuantizedTensor matrix(find_format("f32"), rows, cols);
    std::memcpy(matrix.planes[0].data(), weights.data(), weights.size() * sizeof(float));
    LinearTask task{.weights = {.values = matrix.view(), .name = "w"}, .format = find_format(format), .method = method};
    task.moments.push_back({.rows = {0, rows}, .inputs = &inputs});
    if (weighs_outputs) task.moments.front().outputs = outputs;
    RoundPlans plans;
    const LinearQuantizer linear(task, plans, machine);
    std::vector<float> stored(rows * cols);
    linear.decode(linear.encode({0, rows}), 0, stored);
    return stored;
  }
  double loss(const std::vector<float>& stored) const {
    std::vector<double> errors(rows * cols), turned(rows * cols);
    for (std::size_t i = 0; i < errors.size(); ++i)
      errors[i] = static_cast<double>(weights[i]) - static_cast<double>(stored[i]);
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < cols; ++c)
        for (std::size_t k = 0; k < cols; ++k)
          turned[r * cols + c] += errors[r * cols + k] * static_cast<double>(inputs.second_moment[k * cols + c]);
    double sum = 0;
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t s = 0; s < rows; ++s) {
        double both = 0;
        for (std::size_t c = 0; c < cols; ++c) both += turned[r * cols + c] * errors[s * cols + c];
        sum += static_cast<double>(outputs[r * rows + s]) * both;
      }
    return sum;
  }
};

void set_inputs(Problem& problem, std::vector<float> moment) {
  problem.inputs.site = "in";
  problem.inputs.count = 1000;
  problem.inputs.second_moment = std::move(moment);
  for (std::size_t i = 0; i < problem.cols; ++i)
    problem.inputs.mean_square.push_back(problem.inputs.second_moment[i * problem.cols + i]);
}

// Of `rank` directions and a little of all.
std::vector<float> correlated(std::size_t n, std::size_t rank, Random& random) {
  std::vector<float> factor(n * rank), moment(n * n);
  for (float& value : factor) value = static_cast<float>(random.normal());
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t k = 0; k < rank; ++k) moment[i * n + j] += factor[i * rank + k] * factor[j * rank + k];
      if (i == j) moment[i * n + j] += 0.1F;
    }
  return moment;
}

Problem random_problem(std::size_t rows, std::size_t cols, Random& random) {
  Problem problem;
  problem.rows = rows;
  problem.cols = cols;
  problem.weights.resize(rows * cols);
  for (float& weight : problem.weights) weight = static_cast<float>(random.normal());
  return problem;
}

TEST(OutputFeedback, ChoosesTheCodesOfTheReference) {
  std::ifstream file(NIBBLE_SOURCE_DIR "/tests/data/train/curvature.json");
  const nlohmann::json reference = nlohmann::json::parse(file), expected = reference.at("rounding");
  Problem problem;
  problem.rows = expected.at("rows").get<std::size_t>();
  problem.cols = expected.at("cols").get<std::size_t>();
  problem.weights = expected.at("weights").get<std::vector<float>>();
  problem.outputs = expected.at("outputs").get<std::vector<float>>();
  set_inputs(problem, expected.at("inputs").get<std::vector<float>>());
  Method method = find_method("gptq");
  method.fit.rule = FitRule::absmax;
  const auto stored = expected.at("stored").get<std::vector<float>>();
  const std::vector<float> found = problem.rounded("int4:row", method, true);
  for (std::size_t i = 0; i < stored.size(); ++i) EXPECT_NEAR(found[i], stored[i], 1e-5) << i;
  EXPECT_LT(problem.loss(found), problem.loss(problem.rounded("int4:row", method, false)));
}

TEST(OutputFeedback, CostsLessInEveryKindOfFormat) {
  Random random(3);
  Problem problem = random_problem(128, 256, random);
  problem.outputs = correlated(problem.rows, 40, random);
  set_inputs(problem, correlated(problem.cols, 90, random));
  for (const char* const format :
       {"int4:g128", "int3:g64:half", "int2:g64", "q4_0", "q4_k", "q2_k", "iq4_nl", "iq2_xs", "nf4:g64", "trellis2:l8",
        "int4:g32:s8", "nvfp4", "nf4:g64:dq", "int8:tensor", "fp8:tensor", "fp8:block4x4", "fp8:block16x16"})
    for (const char* const name : {"gptq", "descent"}) {
      const Method method = find_method(name);
      const std::vector<float> apart = problem.rounded(format, method, false),
                               together = problem.rounded(format, method, true);
      EXPECT_LT(problem.loss(together), 0.8 * problem.loss(apart)) << format << ' ' << name;
      EXPECT_EQ(together, problem.rounded(format, method, true, 1)) << format << ' ' << name;
    }
}

// Lattices search long for a point, so of less.
TEST(OutputFeedback, CostsLessWithLattices) {
  Random random(3);
  Problem problem = random_problem(32, 64, random);
  problem.outputs = correlated(problem.rows, 20, random);
  set_inputs(problem, correlated(problem.cols, 40, random));
  const Method method = find_method("gptq");
  const std::vector<float> together = problem.rounded("e8p2", method, true);
  EXPECT_LT(problem.loss(together), 0.9 * problem.loss(problem.rounded("e8p2", method, false)));
  EXPECT_EQ(together, problem.rounded("e8p2", method, true, 1));
}

// Two parts of a matrix, each with outputs of its own, have the codes of two matrices where no grid spans both.
TEST(OutputFeedback, PartsAreRoundedByThemselves) {
  Random random(6);
  // Rows: no multiple of those of a block, nor of those that are rounded together.
  Problem part = random_problem(40, 64, random);
  part.outputs = correlated(part.rows, 10, random);
  set_inputs(part, correlated(part.cols, 20, random));
  std::vector<float> both = part.weights;
  both.resize(2 * part.weights.size());
  std::ranges::copy(part.weights, both.begin() + static_cast<std::ptrdiff_t>(part.weights.size()));
  Machine machine(chosen_isa(), 2);
  QuantizedTensor matrix(find_format("f32"), 2 * part.rows, part.cols);
  std::memcpy(matrix.planes[0].data(), both.data(), both.size() * sizeof(float));
  for (const char* const format : {"fp8:block4x4", "q4_0", "int4:row"}) {
    const Method method = find_method("gptq");
    LinearTask task{.weights = {.values = matrix.view(), .name = "w"}, .format = find_format(format), .method = method};
    for (const std::uint64_t begin : {std::size_t{0}, part.rows})
      task.moments.push_back({.rows = {begin, begin + part.rows},
                              .inputs = &part.inputs,
                              .outputs = std::span<const float>(part.outputs)});
    RoundPlans plans;
    const LinearQuantizer linear(task, plans, machine);
    std::vector<float> found(both.size());
    linear.decode(linear.encode({0, 2 * part.rows}), 0, found);
    const std::vector<float> one = part.rounded(format, method, true);
    EXPECT_TRUE(std::equal(one.begin(), one.end(), found.begin())) << format;
    EXPECT_TRUE(std::equal(one.rbegin(), one.rend(), found.rbegin())) << format;
  }
}

// Where outputs do not matter to each other, rows are what they are by themselves.
TEST(OutputFeedback, OutputsApartAreRoundedApart) {
  Random random(4);
  Problem problem = random_problem(24, 64, random);
  problem.outputs.resize(problem.rows * problem.rows);
  for (std::size_t i = 0; i < problem.rows; ++i) problem.outputs[i * problem.rows + i] = static_cast<float>(1 + i % 5);
  set_inputs(problem, correlated(problem.cols, 20, random));
  const Method method = find_method("gptq");
  EXPECT_EQ(problem.rounded("q4_0", method, true), problem.rounded("q4_0", method, false));
}

}  // namespace
}  // namespace nibble
