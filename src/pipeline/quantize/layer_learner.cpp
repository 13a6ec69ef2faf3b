// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/layer_learner.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/memory.h"
#include "nibble/error.h"
#include "pipeline/train/fitting_batch.h"
#include "train/tape.h"

namespace nibble {
namespace {

// All of a layer's Linears that learn, learn as the first does. None: nothing learns.
std::optional<Method> method_of(const PlannedParts& parts, const DrawnGraph& drawing, std::int64_t layer,
                                const QuantizeModelOptions& options) {
  for (const WeightUse& use : drawing.graph.weights())
    if (use.role == TensorRole::linear && learns(parts.planned(use.part, layer), options))
      return parts.method(use.part, layer);
  return std::nullopt;
}

std::uint64_t layer_weights(const DrawnGraph& drawing, const PlannedParts& parts, std::int64_t layer,
                            const std::function<bool(const TensorPlan&)>& counts) {
  std::uint64_t total = 0;
  for (const WeightUse& use : drawing.graph.weights()) {
    const TensorPlan& tensor = parts.planned(use.part, layer);
    if (counts(tensor)) total += tensor.rows * tensor.cols;
  }
  return total;
}

constexpr const char* kWhatLearns =
    "take the method gptq or descent, or a format with a scale for each group or block (int4:g128, q4_k, iq4_xs, "
    "nf4:g64, mxfp4)";

bool asks_to_learn(const TensorPlan& tensor, const QuantizeModelOptions& options) {
  return tensor.role == TensorRole::linear && tensor.target.format->info().kind != FormatKind::raw &&
         method_for(tensor, options).learning != LayerLearning::none;
}

// Empty: there is none.
std::string obstacle_to_learning(const Format& format) {
  const std::string why = LearnedRounding::refusal(format);
  return why.empty() ? why : fmt::format("{}, {}", format.name(), why);
}

std::string obstacle_to_learning(const TensorPlan& tensor) {
  if (!tensor.column_order.empty())
    return "a matrix whose columns the output has in another order than the network reads them";
  if (tensor.target.parts) return "a matrix whose inputs are rotated";
  return obstacle_to_learning(*tensor.target.format);
}

void require_one_method(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  const PlannedParts parts(plan, options);
  for (std::int64_t layer = 0; layer < static_cast<std::int64_t>(plan.config.layers); ++layer) {
    const TensorPlan* first = nullptr;
    for (const WeightUse& use : parts.drawing(layer).graph.weights()) {
      const TensorPlan& tensor = parts.planned(use.part, layer);
      if (!learns(tensor, options)) continue;
      if (first == nullptr) first = &tensor;
      const Method one = method_for(*first, options), other = method_for(tensor, options);
      if (one.learning != other.learning)
        throw Error(ErrorKind::unsupported,
                    fmt::format("'{}' is to learn by {} and '{}' by {}, but the matrices of a layer learn together, by "
                                "one method; name the same for all of them in the recipe",
                                first->target.name, one.name, tensor.target.name, other.name));
    }
  }
}

void require_windows(std::uint64_t windows) {
  if (windows >= 2) return;
  throw Error(ErrorKind::unusable_input,
              "a layer learns from one part of the text and is judged on another, and this is a single window; give "
              "more text or take more windows of it",
              "samples");
}

void require_text(const QuantizeModelOptions& options) {
  if (options.calibration.texts.empty())
    throw Error(ErrorKind::invalid_argument,
                options.calibration.statistics != nullptr
                    ? "statistics do not tell what a layer gives, which this method learns from; give it text"
                    : "this method learns from what the model's layers make of a text; give it one",
                "texts");
  if (const std::uint64_t asked = options.calibration.sampling.samples; asked != 0) require_windows(asked);  // 0: all
}

LayerTrainingSettings settings_of(const Method& method, const QuantizeModelOptions& options) {
  LayerTrainingSettings settings = usual_settings(method.learning);
  const bool by_signs = method.learning == LayerLearning::signs;
  // Codes of nearest values are each by itself. Others make good each other's errors, and few should change.
  if (by_signs && method.rounder->needs() == Needs::nothing) settings.within = 0.45F;
  const LearningOptions& given = options.learning;
  if (given.steps) settings = scaled_to_steps(settings, *given.steps);
  if (given.batch) settings.batch = static_cast<std::size_t>(*given.batch);
  if (given.rate) settings.rate = *given.rate;
  if (given.rate && by_signs) settings.grid_rate = *given.rate;
  return settings;
}

}  // namespace

bool learns(const TensorPlan& tensor, const QuantizeModelOptions& options) {
  return asks_to_learn(tensor, options) && obstacle_to_learning(tensor).empty();
}

std::vector<std::string> left_unlearnt(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  std::vector<std::string> lines;
  for (const TensorPlan& tensor : plan.tensors)
    if (asks_to_learn(tensor, options) && !learns(tensor, options))
      lines.push_back(tensor.target.name + ": " + obstacle_to_learning(tensor));
  return lines;
}

void require_learnable(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  const auto asks = [&](const TensorPlan& tensor) { return asks_to_learn(tensor, options); };
  const auto first = std::ranges::find_if(plan.tensors, asks);
  if (first == plan.tensors.end()) return;
  if (std::ranges::none_of(plan.tensors, [&](const TensorPlan& tensor) { return learns(tensor, options); }))
    throw Error(
        obstacle_to_learning(*first->target.format).empty() ? ErrorKind::unsupported : ErrorKind::invalid_argument,
        fmt::format("rounding is not learned in {}; {}: '{}'", obstacle_to_learning(*first), kWhatLearns,
                    first->target.name));
  require_one_method(plan, options);
  require_text(options);
}

void require_learnable(std::span<const std::string> formats, const QuantizeModelOptions& options) {
  if (method_for(TensorPlan{}, options).learning == LayerLearning::none) return;
  std::string first;
  for (const std::string& name : formats) {
    const std::string why = obstacle_to_learning(*find_format(name));
    if (why.empty()) return require_text(options);
    if (first.empty()) first = why;
  }
  throw Error(ErrorKind::invalid_argument, fmt::format("rounding is not learned in {}; {}", first, kWhatLearns));
}

std::uint64_t learning_work(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  std::uint64_t total = 0;
  for (const TensorPlan& tensor : plan.tensors)
    if (learns(tensor, options))
      total += tensor.rows * tensor.cols *
               options.learning.steps.value_or(usual_settings(method_for(tensor, options).learning).steps);
  return total;
}

LearningBytes learning_bytes(const QuantizePlan& plan, const QuantizeModelOptions& options, const LearningText& text) {
  const PlannedParts parts(plan, options);
  LearningBytes bytes;
  for (std::int64_t layer = 0; layer < static_cast<std::int64_t>(plan.config.layers); ++layer) {
    const DrawnGraph& drawing = parts.drawing(layer);
    const std::optional<Method> method = method_of(parts, drawing, layer, options);
    if (!method) continue;
    LayerTrainingSettings own = settings_of(*method, options);
    own.batch = std::min(own.batch, static_cast<std::size_t>(text.tokens / text.length));
    const std::uint64_t all = layer_weights(drawing, parts, layer, [](const TensorPlan&) { return true; }),
                        learnt = layer_weights(drawing, parts, layer,
                                               [&](const TensorPlan& tensor) { return learns(tensor, options); });
    // The layer as the original has it, as it is stored, as it learns, and its codes.
    const std::uint64_t layers = 3 * sizeof(float) * all + 2 * learnt;
    bytes.layer = std::max(bytes.layer,
                           layers + LayerTraining::bytes(drawing, learnt, static_cast<std::size_t>(text.length), own));
    bytes.batch = own.batch;
  }
  if (options.calibration.spill_directory.empty()) bytes.hidden = 3 * text.tokens * plan.config.hidden * sizeof(float);
  return bytes;
}

std::string require_learning_memory(const QuantizePlan& plan, const QuantizeModelOptions& options,
                                    const LearningText& text, std::uint64_t beside, std::uint64_t available) {
  const LearningBytes bytes = learning_bytes(plan, options, text);
  std::string numbers = fmt::format(
      "{} for a layer in f32, what it learns and a batch of {} windows of {} tokens, {} for the "
      "text{}; "
      "{} are free",
      memory_text(bytes.layer), bytes.batch, text.length, memory_text(bytes.hidden),
      beside == 0 ? "" : fmt::format(", {} for what its errors cost", memory_text(beside)), memory_text(available));
  if (bytes.layer + bytes.hidden + beside > available)
    throw Error(
        ErrorKind::resource,
        "learning takes more memory than there is; give smaller batches, or keep hidden states on a disk: " + numbers,
        "batch");
  return numbers;
}

struct LayerLearner::Open {
  std::int64_t layer = 0;
  LayerTrainingSettings settings{};
  WalkState entered{};  // the text before the layer
  NetworkWeights weights{std::vector<NetworkWeight>{}};
  std::vector<LearnedPart> parts{};
};

LayerLearner::LayerLearner(const QuantizePlan& plan, const PlannedParts& parts, const QuantizeModelOptions& options,
                           TensorOutput& output, Machine& machine)
    : plan_(plan), parts_(parts), options_(options), output_(output), machine_(machine) {
  learns_anything_ =
      std::ranges::any_of(plan.tensors, [&](const TensorPlan& tensor) { return learns(tensor, options); });
}

LayerLearner::~LayerLearner() = default;

void LayerLearner::require_room(const LearningText& text, std::uint64_t beside) const {
  require_windows(text.tokens / text.length);
  const std::string taken = require_learning_memory(plan_, options_, text, beside, available_memory());
  if (options_.note) options_.note("learning takes " + taken);
}

bool LayerLearner::is_due(std::int64_t layer) const {
  const DrawnGraph& drawing = parts_.drawing(layer);
  if (!method_of(parts_, drawing, layer, options_)) return false;
  return !output_.find_learnt(layer) || std::ranges::any_of(drawing.graph.weights(), [&](const WeightUse& use) {
    return learns(parts_.planned(use.part, layer), options_) && !output_.is_done(parts_.index(use.part, layer));
  });
}

void LayerLearner::begin(std::int64_t layer, const LayerWeights& current, LayerWalk& walk) {
  open_.reset();
  const DrawnGraph& drawing = current.drawing();
  const std::optional<Method> method = method_of(parts_, drawing, layer, options_);
  if (!method) return;
  if (!is_due(layer)) {
    output_.record_learnt(*output_.find_learnt(layer));
    output_.advance(
        settings_of(*method, options_).steps *
            layer_weights(drawing, parts_, layer, [&](const TensorPlan& tensor) { return learns(tensor, options_); }),
        "");
    return;
  }
  open_ =
      std::make_unique<Open>(Open{.layer = layer, .settings = settings_of(*method, options_), .entered = walk.save()});
  if (options_.calibration.walk != WalkArithmetic::f32) open_->settings.arithmetic = fastest_products(machine_.isa);
  std::vector<NetworkWeight> weights;
  for (const WeightUse& use : drawing.graph.weights())
    weights.push_back({parts_.tensor(use.part, layer).hf_name, use.part, layer, use.role, current.at(use.part)});
  open_->weights = NetworkWeights(std::move(weights));
}

bool LayerLearner::awaits(std::string_view part) const {
  return open_ != nullptr && learns(parts_.planned(part, open_->layer), options_);
}

void LayerLearner::start(std::string_view part, QuantizedTensor codes) {
  open_->parts.push_back({std::string(part), std::move(codes)});
}

LayerText LayerLearner::text(const LayerWeights& current, LayerWalk& walk, const LayerWalk* original) const {
  const Graph& graph = current.drawing().graph;
  LayerText text;
  text.windows = walk.windows();
  text.length = walk.length();
  text.inputs = [&walk, &graph, &current](std::size_t window) {
    return walk.kept_value(graph.inputs.front(), current, window);
  };
  if (original != nullptr)
    text.targets = [original, &graph, &current](std::size_t window) {
      return original->kept_value(graph.inputs.front(), current, window);
    };
  text.received = [&walk, &current](const Crossing& crossing, std::size_t window) {
    return walk.kept_value(crossing.value, current, window);
  };
  return text;
}

void LayerLearner::finish(LayerWeights& current, LayerWalk& walk, const LayerWalk* original,
                          std::span<const float> output_moment) {
  const std::unique_ptr<Open> open = std::move(open_);
  walk.restore(open->entered);
  open->entered = {};
  std::uint64_t weights = 0;
  for (const LearnedPart& part : open->parts) weights += part.start.rows * part.start.cols;
  {
    LayerText learnt_from = text(current, walk, original);
    learnt_from.output_moment = output_moment;
    LayerTraining training(current.drawing().graph, open->layer, open->weights, open->parts, learnt_from,
                           open->settings, machine_);
    // What the layer is to give is the original's; what it learns beside is what is stored of the others.
    for (const WeightUse& use : current.drawing().graph.weights())
      if (!learns(parts_.planned(use.part, open->layer), options_))
        open->weights.find(open->layer, use.part)->values = current.at(use.part);
    if (!output_moment.empty() && !training.weighs_errors() && options_.note)
      options_.note(
          fmt::format("warning: gradients by what layer {} gives are not finite: it learns by the squared "
                      "error of that, not by what it costs",
                      open->layer + 1));
    const std::string item = fmt::format("layer {} learns", open->layer + 1);
    const LearntLayer learnt = training.run([&] { output_.advance(weights, item); });
    output_.record_learnt(learnt);
    for (LearnedPart& part : open->parts) part.start = training.stored(part.part);
  }
  for (const LearnedPart& part : open->parts) {
    const std::size_t index = parts_.index(part.part, open->layer);
    LinearTask task{.weights = output_.weights_of(index, part.start.view()),
                    .format = parts_.planned(part.part, open->layer).target.format,
                    .method = parts_.method(part.part, open->layer),
                    .parts = parts_.planned(part.part, open->layer).target.parts};
    task.weights.file.clear();  // numbers of our own, which no file holds
    RoundPlans plans;
    const StoredMatrix stored = output_.write_and_keep(index, task, plans, walk.multiplies_codes());
    current.at(part.part).values = stored.values.values;
    if (stored.codes)
      walk.pack(part.part, stored.codes->view());
    else
      walk.pack(part.part, current.at(part.part));
  }
  for (const Site& site : current.drawing().sites) walk.leave(site, current);
}

}  // namespace nibble
