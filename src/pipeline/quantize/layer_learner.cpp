// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/layer_learner.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/memory.h"
#include "nibble/error.h"
#include "train/tape.h"

namespace nibble {
namespace {

double mebibytes(std::uint64_t bytes) { return static_cast<double>(bytes) * 0x1p-20; }

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

}  // namespace

bool learns(const TensorPlan& tensor, const QuantizeModelOptions& options) {
  return tensor.role == TensorRole::linear && tensor.target.format->info().kind != FormatKind::raw &&
         method_for(tensor, options).learning != LayerLearning::none;
}

void require_learnable(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  for (const TensorPlan& tensor : plan.tensors) {
    if (!learns(tensor, options)) continue;
    const std::string& format = tensor.target.format->name();
    if (const std::string why = LearnedRounding::refusal(*tensor.target.format); !why.empty())
      throw Error(ErrorKind::unsupported,
                  fmt::format("rounding is not learned in {}, {}; take the method gptq or descent for it, or a format "
                              "with a scale for each group or block (int4:g128, q4_k, iq4_xs, nf4:g64, mxfp4): '{}'",
                              format, why, tensor.target.name));
    if (!tensor.column_order.empty())
      throw Error(ErrorKind::unsupported,
                  fmt::format("the output has the columns of '{}' in another order than the network reads them, in "
                              "which rounding is not learned; take the method gptq or descent for it, or another "
                              "container",
                              tensor.target.name));
  }
}

std::uint64_t learning_work(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  std::uint64_t total = 0;
  for (const TensorPlan& tensor : plan.tensors)
    if (learns(tensor, options))
      total += tensor.rows * tensor.cols *
               options.learning.steps.value_or(usual_settings(method_for(tensor, options).learning).steps);
  return total;
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

LayerTrainingSettings LayerLearner::settings(const Method& method) const {
  LayerTrainingSettings settings = usual_settings(method.learning);
  const bool by_signs = method.learning == LayerLearning::signs;
  // Codes of nearest values are each by itself. Others make good each other's errors, and few should change.
  if (by_signs && method.rounder->needs() == Needs::nothing) settings.within = 0.45F;
  const LearningOptions& given = options_.learning;
  if (given.steps) settings = scaled_to_steps(settings, *given.steps);
  if (given.batch) settings.batch = static_cast<std::size_t>(*given.batch);
  if (given.rate) settings.rate = *given.rate;
  if (given.rate && by_signs) settings.grid_rate = *given.rate;
  if (options_.calibration.walk != WalkArithmetic::f32) settings.arithmetic = fastest_products(machine_.isa);
  return settings;
}

void LayerLearner::require_memory(std::uint64_t tokens, std::uint64_t length) const {
  std::uint64_t needed = 0, hidden = 0;
  std::size_t batch = 0;
  for (std::int64_t layer = 0; layer < static_cast<std::int64_t>(plan_.config.layers); ++layer) {
    const DrawnGraph& drawing = parts_.drawing(layer);
    const std::optional<Method> method = method_of(parts_, drawing, layer, options_);
    if (!method) continue;
    LayerTrainingSettings own = settings(*method);
    own.batch = std::min(own.batch, static_cast<std::size_t>(tokens / length));
    const std::uint64_t all = layer_weights(drawing, parts_, layer, [](const TensorPlan&) { return true; }),
                        learnt = layer_weights(drawing, parts_, layer,
                                               [&](const TensorPlan& tensor) { return learns(tensor, options_); });
    // The layer as the original has it, as it is stored, as it learns, and its codes.
    const std::uint64_t layers = 3 * sizeof(float) * all + 2 * learnt;
    needed = std::max(needed, layers + LayerTraining::bytes(drawing, learnt, static_cast<std::size_t>(length), own));
    batch = own.batch;
  }
  // Of the text where it entered the layer, where it is, and behind the original's.
  if (options_.calibration.spill_directory.empty()) hidden = 3 * tokens * plan_.config.hidden * sizeof(float);
  const std::uint64_t there = available_memory();
  const std::string numbers = fmt::format(
      "{:.1f} MiB for a layer in f32, what it learns and a batch of {} windows of {} tokens, {:.1f} MiB for the text; "
      "{:.1f} MiB are free",
      mebibytes(needed), batch, length, mebibytes(hidden), mebibytes(there));
  if (needed + hidden > there)
    throw Error(
        ErrorKind::resource,
        "learning takes more memory than there is; give smaller batches, or keep hidden states on a disk: " + numbers,
        "batch");
  if (options_.note) options_.note("learning takes " + numbers);
}

void LayerLearner::begin(std::int64_t layer, const LayerWeights& current, LayerWalk& walk) {
  open_.reset();
  const DrawnGraph& drawing = current.drawing();
  const std::optional<Method> method = method_of(parts_, drawing, layer, options_);
  if (!method) return;
  const auto all = drawing.graph.weights();
  const bool is_there = std::ranges::all_of(all, [&](const WeightUse& use) {
    return !learns(parts_.planned(use.part, layer), options_) || output_.is_done(parts_.index(use.part, layer));
  });
  const auto learnt = output_.find_learnt(layer);
  if (is_there && learnt) {
    output_.record_learnt(*learnt);
    output_.advance(
        settings(*method).steps *
            layer_weights(drawing, parts_, layer, [&](const TensorPlan& tensor) { return learns(tensor, options_); }),
        "");
    return;
  }
  open_ = std::make_unique<Open>(Open{.layer = layer, .settings = settings(*method), .entered = walk.save()});
  std::vector<NetworkWeight> weights;
  for (const WeightUse& use : all)
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

void LayerLearner::finish(LayerWeights& current, LayerWalk& walk, const LayerWalk* original) {
  const std::unique_ptr<Open> open = std::move(open_);
  walk.restore(open->entered);
  open->entered = {};
  std::uint64_t weights = 0;
  for (const LearnedPart& part : open->parts) weights += part.start.rows * part.start.cols;
  {
    LayerTraining training(current.drawing().graph, open->layer, open->weights, open->parts,
                           text(current, walk, original), open->settings, machine_);
    const std::string item = fmt::format("layer {} learns", open->layer + 1);
    const LearntLayer learnt = training.run([&] { output_.advance(weights, item); });
    output_.record_learnt(learnt);
    for (LearnedPart& part : open->parts) part.start = training.stored(part.part);
  }
  for (const LearnedPart& part : open->parts) {
    const std::size_t index = parts_.index(part.part, open->layer);
    LinearTask task{.weights = output_.weights_of(index, part.start.view()),
                    .format = parts_.planned(part.part, open->layer).target.format,
                    .method = parts_.method(part.part, open->layer)};
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
