// SPDX-License-Identifier: Apache-2.0
//
// Layers that learn how they are rounded: what PyTorch makes of the same layer (tools/reference_layer_training.py), in
// every format whose codes are single weights', and what must not change a bit of it.
#include "train/layer_training.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "graph/drawing.h"
#include "kernels/chosen_isa.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Json = nlohmann::json;

// What the script makes numbers from.
std::vector<float> numbers(std::uint64_t seed, std::size_t count, float factor = 1) {
  std::vector<float> made(count);
  for (std::uint64_t i = 0; i < count; ++i)
    made[i] = factor * (static_cast<float>((i * 7919 + seed * 104729 + i * i * 31) % 4096) / 1024 - 2);
  return made;
}

struct Shape {
  std::size_t hidden = 32, wide = 32, length = 6, windows = 4;
};

Graph draw(const Shape& shape) {
  Drawing d;
  const Value x = d.input(token_rows(shape.hidden));
  const Value h = d.rms_norm(x, "mlp_norm", 1e-5F);
  auto [gate, up] = d.linears(h, "mlp_in", {{"gate", shape.wide}, {"up", shape.wide}});
  const Value y = d.add(x, d.linear(d.multiply(d.silu(gate), up), "mlp_out", {"down", shape.hidden}));
  return std::move(d).finish({y});
}

NetworkWeights weights_of(const Shape& shape, std::uint64_t seed) {
  std::vector<float> norm = numbers(seed, shape.hidden, 0.1F);
  for (float& gain : norm) gain = 1 + gain;
  std::vector<NetworkWeight> weights;
  weights.push_back({"mlp_norm", "mlp_norm", 0, TensorRole::norm, {1, shape.hidden, norm}});
  for (const char* const part : {"gate", "up", "down"}) {
    const bool is_down = std::string_view(part) == "down";
    const std::size_t rows = is_down ? shape.hidden : shape.wide, cols = is_down ? shape.wide : shape.hidden;
    weights.push_back(
        {part, part, 0, TensorRole::linear, {rows, cols, numbers(seed + weights.size(), rows * cols, 0.1F)}});
  }
  return NetworkWeights(std::move(weights));
}

// Codes nearest to the weights on grids that have these scales; none: the format's own.
QuantizedTensor nearest(const FormatPtr& format, const Matrix& weights, std::span<const float> scales) {
  QuantizedTensor made(format, weights.rows, weights.cols);
  const std::size_t cols = static_cast<std::size_t>(weights.cols),
                    span = format->info().span == 0 ? cols : std::min(cols, format->info().span);
  std::vector<std::max_align_t> room(format->grid_bytes() / sizeof(std::max_align_t) + 1);
  auto* const grid = reinterpret_cast<std::byte*>(room.data());
  std::vector<Code> codes(span);
  for (std::size_t row = 0, next = 0; row < weights.rows; ++row)
    for (std::size_t begin = 0; begin < cols; begin += span) {
      const std::span<const float> x =
          std::span(weights.values).subspan(row * cols + begin, std::min(span, cols - begin));
      format->fit(x, {}, nullptr, row, {.rule = FitRule::search}, grid, begin / span);
      if (!scales.empty()) find_trainable_grid(*format)->store(&scales[next++], grid);
      for (std::size_t i = 0; i < x.size(); ++i) codes[i] = format->nearest(grid, i, &x[i], nullptr);
      format->pack(grid, codes.data(), begin / span, x.size(), made.row(row));
    }
  return made;
}

struct Texts {
  std::vector<float> inputs, targets;  // no targets: the layer's own
  std::vector<float> output_moment{};
};

LayerText text_of(const Shape& shape, const Texts& texts) {
  const std::size_t size = shape.length * shape.hidden;
  LayerText text;
  text.windows = shape.windows;
  text.length = shape.length;
  text.inputs = [&texts, size](std::size_t window) { return std::span(texts.inputs).subspan(window * size, size); };
  if (!texts.targets.empty())
    text.targets = [&texts, size](std::size_t window) { return std::span(texts.targets).subspan(window * size, size); };
  text.output_moment = texts.output_moment;
  return text;
}

// A A^T, the mean of its diagonal 1.
std::vector<float> moment_of(std::size_t width, std::uint64_t seed) {
  const std::vector<float> a = numbers(seed, width * width);
  std::vector<double> products(width * width);
  double trace = 0;
  for (std::size_t i = 0; i < width; ++i)
    for (std::size_t j = 0; j < width; ++j) {
      for (std::size_t k = 0; k < width; ++k)
        products[i * width + j] += static_cast<double>(a[i * width + k]) * static_cast<double>(a[j * width + k]);
      trace += i == j ? products[i * width + j] : 0;
    }
  std::vector<float> moment;
  for (const double product : products)
    moment.push_back(static_cast<float>(product * static_cast<double>(width) / trace));
  return moment;
}

Texts texts_of(const Shape& shape, std::uint64_t seed) {
  const std::size_t size = shape.windows * shape.length * shape.hidden;
  Texts texts{.inputs = numbers(seed + 4, size), .targets = {}};
  const std::vector<float> away = numbers(seed + 5, size, 0.03125F);
  for (std::size_t i = 0; i < size; ++i) texts.inputs[i] += away[i];
  return texts;
}

struct Learnt {
  LearntLayer layer;
  std::vector<std::vector<std::byte>> planes;
  std::vector<float> values;  // of all parts
};

Learnt learn(const Shape& shape, const FormatPtr& format, std::uint64_t seed, const Texts& texts,
             const LayerTrainingSettings& settings, std::size_t threads, std::span<const float> scales = {},
             Isa isa = chosen_isa()) {
  Machine machine(isa, threads);
  const Graph graph = draw(shape);
  NetworkWeights weights = weights_of(shape, seed);
  std::vector<LearnedPart> parts;
  std::size_t used = 0;
  for (const char* const part : {"gate", "up", "down"}) {
    const Matrix& matrix = weights.find(0, part)->values;
    parts.push_back({part, nearest(format, matrix, scales.empty() ? scales : scales.subspan(used))});
    if (!scales.empty()) used += matrix.values.size() / format->info().span;
  }
  LayerTraining training(graph, 0, weights, parts, text_of(shape, texts), settings, machine);
  Learnt learnt{.layer = training.run([] {}), .planes = {}, .values = {}};
  for (const LearnedPart& part : parts) {
    const QuantizedTensor stored = training.stored(part.part);
    const std::vector<float> values = stored.view().decode();
    EXPECT_EQ(values, weights.find(0, part.part)->values.values) << "what is stored is what the network reads";
    learnt.values.insert(learnt.values.end(), values.begin(), values.end());
    learnt.planes.insert(learnt.planes.end(), stored.planes.begin(), stored.planes.end());
  }
  return learnt;
}

TEST(LayerTraining, StepsAreThoseOfPyTorch) {
  std::ifstream file(NIBBLE_SOURCE_DIR "/tests/data/train/layer_training.json");
  const Json reference = Json::parse(file);
  const Shape shape{reference["hidden"], reference["wide"], reference["length"], reference["windows"]};
  ASSERT_FALSE(reference["cases"].empty());
  for (const Json& one : reference["cases"]) {
    SCOPED_TRACE(one["format"].get<std::string>() + " by " + one["rule"].get<std::string>() +
                 (one["weighed"] ? ", errors weighed" : ""));
    const auto seed = one["seed"].get<std::uint64_t>();
    Texts texts = texts_of(shape, seed);
    texts.targets = one["targets"].get<std::vector<float>>();
    if (one["weighed"]) texts.output_moment = moment_of(shape.hidden, seed + 6);
    const bool by_signs = one["rule"] == "signs";
    const LayerTrainingSettings settings{.rule = by_signs ? LayerLearning::signs : LayerLearning::curvature,
                                         .steps = reference["steps"],
                                         .batch = 3,
                                         .rate = one["rate"],
                                         .grid_rate = one["grid_rate"],
                                         .within = by_signs ? 0.45F : 0,
                                         .judge_every = 1};
    std::vector<float> scales, expected;
    for (const Json& of_part : one["scales"])
      for (const Json& scale : of_part) scales.push_back(scale);
    for (const Json& of_part : one["values"])
      for (const Json& value : of_part) expected.push_back(value);
    const Learnt learnt = learn(shape, find_format(one["format"].get<std::string>()), seed, texts, settings, 2, scales);
    const auto errors = one["errors"].get<std::vector<double>>();
    const auto best = std::ranges::min_element(errors);
    EXPECT_NEAR(learnt.layer.before, errors.front(), 1e-4 * errors.front());
    EXPECT_NEAR(learnt.layer.after, *best, 1e-4 * *best);
    EXPECT_EQ(learnt.layer.kept_step, static_cast<std::uint64_t>(best - errors.begin()));
    ASSERT_EQ(learnt.values.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(learnt.values[i], expected[i], 1e-6F) << i;
  }
}

constexpr const char* kFormats[] = {"int4:g64",      "int2:g64:half", "int3:g128:asym", "int3:g128:signed",
                                    "int4:g64:bias", "ternary:row",   "nf4:g64",        "table3:g256",
                                    "q4_0",          "q5_1",          "q2_k",           "q3_k",
                                    "q4_k",          "q6_k",          "iq4_nl",         "iq4_xs",
                                    "mxfp4",         "nvfp4",         "tq2_0"};

TEST(LayerTraining, EveryFormatWithSingleCodesLearns) {
  const Shape shape{.hidden = 256, .wide = 256, .length = 24, .windows = 9};
  const Texts texts = texts_of(shape, 7);
  std::size_t num_better = 0;
  for (const char* const name : kFormats) {
    SCOPED_TRACE(name);
    const FormatPtr format = find_format(name);
    for (const LayerLearning rule : {LayerLearning::signs, LayerLearning::curvature}) {
      LayerTrainingSettings settings = scaled_to_steps(usual_settings(rule), 8);
      settings.judge_every = 2;
      const Learnt one = learn(shape, format, 7, texts, settings, 1);
      EXPECT_LE(one.layer.after, one.layer.before);
      num_better += one.layer.after < one.layer.before ? 1 : 0;
      if (rule == LayerLearning::curvature) {
        EXPECT_EQ(one.planes, learn(shape, format, 7, texts, settings, 3).planes);
      }
    }
  }
  EXPECT_GE(num_better, std::size(kFormats));  // few steps of few tokens do nothing for some of them
}

TEST(LayerTraining, NothingGetsWorse) {
  const Shape shape{.hidden = 64, .wide = 64, .length = 8, .windows = 9};
  const Texts texts = texts_of(shape, 3);
  LayerTrainingSettings wild = usual_settings(LayerLearning::curvature);
  wild.steps = 10;
  wild.rate = 1;
  wild.grid_rate = 1;
  const FormatPtr format = find_format("int4:g64");
  const Learnt learnt = learn(shape, format, 3, texts, wild, 2);
  EXPECT_EQ(learnt.layer.after, learnt.layer.before);
  EXPECT_EQ(learnt.layer.kept_step, 0U);
  NetworkWeights weights = weights_of(shape, 3);
  std::vector<std::vector<std::byte>> planes;
  for (const char* const part : {"gate", "up", "down"}) {
    const QuantizedTensor start = nearest(format, weights.find(0, part)->values, {});
    planes.insert(planes.end(), start.planes.begin(), start.planes.end());
  }
  EXPECT_EQ(learnt.planes, planes);
}

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(LayerTraining, SaysWhatCannotLearn) {
  const auto refusal = [](const char* name) { return LearnedRounding::refusal(*find_format(name)); };
  for (const char* const name : kFormats) EXPECT_EQ(refusal(name), "") << name;
  for (const char* const name : {"iq2_xs", "iq3_xxs", "iq1_s", "trellis2:l8"})
    EXPECT_EQ(refusal(name), "its codes stand for several weights at once") << name;
  for (const char* const name : {"int4:g64:s6", "nf4:g64:dq"})
    EXPECT_EQ(refusal(name), "its scales are counted in others") << name;
  for (const char* const name : {"int8:tensor", "fp8:block32x32"})
    EXPECT_EQ(refusal(name), "rows share its scales") << name;
}

TEST(LayerTraining, SaysWhereNumbersAreNoneAnyMore) {
  const Shape shape{.hidden = 64, .wide = 64, .length = 8, .windows = 9};
  Texts texts = texts_of(shape, 3);
  texts.targets = texts.inputs;
  const FormatPtr format = find_format("int4:g64");
  const LayerTrainingSettings settings = usual_settings(LayerLearning::signs);
  texts.targets[0] = std::numeric_limits<float>::infinity();  // of a window that is learnt from
  const std::string learnt = message_of([&] { learn(shape, format, 3, texts, settings, 2); });
  EXPECT_NE(learnt.find("layer 1 gives numbers that are not finite before it has learnt anything"), std::string::npos)
      << learnt;
  texts.inputs[7 * shape.length * shape.hidden] = std::numeric_limits<float>::quiet_NaN();  // of one that judges
  const std::string before = message_of([&] { learn(shape, format, 3, texts, settings, 2); });
  EXPECT_NE(before.find("layer 1 gives numbers that are not finite before it has learnt anything"), std::string::npos)
      << before;
}

}  // namespace
}  // namespace nibble
