// SPDX-License-Identifier: Apache-2.0
#include "train/layer_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "nibble/error.h"
#include "train/graph_run.h"
#include "train/optimizer.h"
#include "train/rate_schedule.h"
#include "train/tape.h"

namespace nibble {
namespace {

constexpr std::size_t kJudgedShare = 8;  // every so manieth window is judged on
constexpr float kMostOfSigns = 0.5F;     // how far a position, or a number's share, goes by signs
constexpr std::uint64_t kProbes = 6;     // batches by which curvature is found

RateSchedule schedule_of(const LayerTrainingSettings& settings) {
  if (settings.rule == LayerLearning::signs) return {.fall = RateFall::linear, .steps = settings.steps};
  return {.fall = RateFall::cosine, .steps = settings.steps, .warm_up = settings.steps / 20};
}

OptimizerSettings optimizer_of(LayerLearning rule, double rate) {
  if (rule == LayerLearning::signs) return SignSettings{.rate = rate};
  // Slopes of single numbers are small: what keeps from dividing by nothing must not be what decides.
  return AdamWSettings{.rate = rate, .epsilon = 1e-14, .weight_decay = 0};
}

void append(std::span<const float> numbers, std::vector<float>& to) {
  to.insert(to.end(), numbers.begin(), numbers.end());
}

}  // namespace

LayerTrainingSettings usual_settings(LayerLearning rule) {
  if (rule == LayerLearning::signs) return {};
  return {.rule = rule, .rate = 0.1, .grid_rate = 0.002, .within = 0, .trust = 0.7};
}

LayerTrainingSettings scaled_to_steps(LayerTrainingSettings settings, std::uint64_t steps) {
  const double share = static_cast<double>(settings.steps) / static_cast<double>(steps);
  if (settings.rule == LayerLearning::signs) {
    settings.rate *= share;
    settings.grid_rate *= share;
  }
  settings.steps = steps;
  return settings;
}

LayerTraining::LayerTraining(const Graph& graph, std::int64_t layer, NetworkWeights& weights,
                             const std::vector<LearnedPart>& parts, const LayerText& text,
                             const LayerTrainingSettings& settings, Machine& machine)
    : graph_(graph),
      layer_(layer),
      weights_(weights),
      text_(text),
      settings_(settings),
      machine_(machine),
      room_{.machine = machine, .arithmetic = settings.arithmetic},
      width_(static_cast<std::size_t>(graph.width(graph.outputs.front()))),
      stream_error_(text.output_moment, width_, settings.arithmetic, machine) {
  for (std::size_t window = 0; window < text.windows; ++window)
    (window % kJudgedShare == kJudgedShare - 1 ? judged_ : learnt_).push_back(window);
  if (judged_.empty()) judged_.push_back(learnt_.back());
  if (learnt_.size() > 1 && learnt_.back() == judged_.back()) learnt_.pop_back();
  settings_.batch = std::min(settings_.batch, learnt_.size());
  weights_.train([&](const NetworkWeight& weight) {
    return std::ranges::any_of(parts, [&](const LearnedPart& part) { return part.part == weight.part; });
  });
  if (!text_.targets) make_targets();
  parts_.reserve(parts.size());
  for (const LearnedPart& part : parts) {
    NetworkWeight& weight = *weights_.find(layer, part.part);
    const std::vector<float> original = weight.values.values;
    parts_.emplace_back(part.start, original, settings.within, weight, machine.pool);
  }
}

void LayerTraining::fill(std::span<const std::size_t> windows, Batch& batch) const {
  batch = {};
  batch.received.resize(graph_.received.size());
  for (const std::size_t window : windows) {
    append(text_.inputs(window), batch.inputs);
    for (std::size_t i = 0; i < graph_.received.size(); ++i)
      append(text_.received(graph_.received[i], window), batch.received[i]);
    if (text_.ids) {
      const std::span<const std::int32_t> ids = text_.ids(window);
      batch.ids.insert(batch.ids.end(), ids.begin(), ids.end());
    }
    if (text_.targets) append(text_.targets(window), batch.targets);
    if (!own_targets_.empty())
      append(std::span(own_targets_).subspan(window * text_.length * width_, text_.length * width_), batch.targets);
  }
}

void LayerTraining::walk(std::span<const std::size_t> windows, GraphRun::Keep keep,
                         const std::function<void(GraphRun&)>& use) {
  fill(windows, batch_);
  GraphRun run(graph_, layer_, weights_, {windows.size(), text_.length}, room_);
  run.give_ids(batch_.ids);
  run.give(graph_.inputs.front(), batch_.inputs, false);
  for (std::size_t i = 0; i < graph_.received.size(); ++i)
    run.give(graph_.received[i].value, batch_.received[i], false);
  run.forward(keep);
  use(run);
}

void LayerTraining::make_targets() {
  std::vector<float> targets;
  for (std::size_t window = 0; window < text_.windows; ++window) {
    walk({&window, 1}, GraphRun::Keep::outputs,
         [&](GraphRun& run) { append(run.value(graph_.outputs.front()), targets); });
  }
  own_targets_ = std::move(targets);
}

double LayerTraining::step(std::span<const std::size_t> windows) {
  for (LearnedRounding& part : parts_) part.round(machine_.pool);
  weights_.clear_gradients(machine_.pool);
  double error = 0;
  walk(windows, GraphRun::Keep::all, [&](GraphRun& run) {
    slopes_.resize(batch_.targets.size());
    error = stream_error_.of(run.value(graph_.outputs.front()), batch_.targets,
                             1 / static_cast<double>(batch_.targets.size()), slopes_);
    if (!std::isfinite(error)) return;
    run.add_gradient(graph_.outputs.front(), slopes_);
    run.backward();
    for (LearnedRounding& part : parts_) part.pull_back(machine_.pool);
  });
  return error;
}

double LayerTraining::judge() {
  for (LearnedRounding& part : parts_) part.round(machine_.pool);
  SizedError total;
  for (std::size_t first = 0; first < judged_.size(); first += settings_.batch) {
    const std::span<const std::size_t> windows =
        std::span(judged_).subspan(first, std::min(settings_.batch, judged_.size() - first));
    walk(windows, GraphRun::Keep::outputs, [&](GraphRun& run) {
      const SizedError sized = stream_error_.sized(run.value(graph_.outputs.front()), batch_.targets);
      total.error += sized.error;
      total.target += sized.target;
    });
  }
  return total.target == 0 ? total.error : total.error / total.target;
}

// E[(sum of r dy / dw)^2], r of random signs for all outputs of all tokens, is the sum of (dy / dw)^2: half of what the
// squared error bends by, where y is about linear in w. Windows from all of the text: a column that is quiet in some of
// it would be taken for one that is quiet.
void LayerTraining::find_curvature() {
  std::vector<CurvatureSums> sums;
  for (const LearnedRounding& part : parts_) sums.emplace_back(part.weight().values.rows, part.weight().values.cols);
  for (std::uint64_t probe = 0; probe < kProbes; ++probe) {
    std::vector<std::size_t> windows;
    for (std::size_t i = 0; i < settings_.batch; ++i)
      windows.push_back(learnt_[i * learnt_.size() / settings_.batch +
                                static_cast<std::size_t>(probe) * (learnt_.size() / settings_.batch / kProbes)]);
    weights_.clear_gradients(machine_.pool);
    walk(windows, GraphRun::Keep::all, [&](GraphRun& run) {
      slopes_.resize(batch_.targets.size());
      stream_error_.draw(settings_.seed * 1'000'003 + probe, slopes_);
      run.add_gradient(graph_.outputs.front(), slopes_);
      run.backward();
    });
    for (std::size_t part = 0; part < parts_.size(); ++part) sums[part].add(parts_[part].weight().gradient);
  }
  const double count = static_cast<double>(kProbes) * static_cast<double>(batch_.targets.size());
  for (const CurvatureSums& one : sums) curvature_.push_back(one.curvature(2 / count / settings_.trust));
}

// Every window once, in an order of each pass's own; what is left of one that fills no batch is left out.
std::vector<std::size_t> LayerTraining::next_batch() {
  if (order_.size() < settings_.batch) {
    order_ = learnt_;
    Random random(settings_.seed * 1'000'003 + passes_++);
    for (std::size_t i = order_.size() - 1; i > 0; --i)
      std::swap(order_[i], order_[static_cast<std::size_t>(random.below(i + 1))]);
  }
  const std::vector<std::size_t> batch(order_.end() - static_cast<std::ptrdiff_t>(settings_.batch), order_.end());
  order_.resize(order_.size() - settings_.batch);
  return batch;
}

void LayerTraining::require_finite(double error, std::uint64_t step) const {
  if (std::isfinite(error)) return;
  if (step == 0)
    throw Error(ErrorKind::unusable_input,
                fmt::format("layer {} gives numbers that are not finite before it has learnt anything; choose a format "
                            "that holds its weights, or mend the model",
                            layer_ + 1));
  throw Error(ErrorKind::unusable_input,
              fmt::format("layer {} has gone astray in step {}: the error of its output is {}; lower the rate",
                          layer_ + 1, step, std::isnan(error) ? "NaN" : "infinite"),
              "learning_rate");
}

LearntLayer LayerTraining::run(const std::function<void()>& after_step) {
  std::vector<Parameter> offsets, grids;
  for (LearnedRounding& part : parts_) {
    offsets.push_back(part.offsets());
    grids.push_back(part.grid_changes());
  }
  Optimizer of_offsets(SignSettings{.rate = settings_.rate}, offsets),
      of_grids(optimizer_of(settings_.rule, settings_.grid_rate), grids);
  const RateSchedule schedule = schedule_of(settings_);
  if (settings_.rule == LayerLearning::curvature) find_curvature();
  LearntLayer learnt{.layer = layer_, .before = judge()};
  require_finite(learnt.before, 0);
  learnt.after = learnt.before;
  std::vector<std::vector<float>> best;
  const auto keep = [&] {
    best.clear();
    for (const std::vector<Parameter>* const all : {&offsets, &grids})
      for (const Parameter& one : *all) best.emplace_back(one.values.begin(), one.values.end());
  };
  keep();
  for (std::uint64_t done = 0; done < settings_.steps;) {
    require_finite(step(next_batch()), done == 0 ? 0 : done + 1);  // the first loss is of what it begins with
    const StepScale scale{.rate_factor = rate_factor(schedule, done)};
    of_grids.step(grids, scale, machine_);
    if (settings_.rule == LayerLearning::signs) {
      of_offsets.step(offsets, scale, machine_);
      for (LearnedRounding& part : parts_) part.hold_in_bounds(kMostOfSigns, machine_.pool);
    } else {
      for (std::size_t part = 0; part < parts_.size(); ++part)
        parts_[part].approach(static_cast<float>(settings_.rate), curvature_[part], machine_.pool);
    }
    ++done;
    if (done % settings_.judge_every == 0 || done == settings_.steps) {
      const double error = judge();
      require_finite(error, done);
      if (error < learnt.after) {
        learnt.after = error;
        learnt.kept_step = done;
        keep();
      }
    }
    after_step();
  }
  std::size_t next = 0;
  for (const std::vector<Parameter>* const all : {&offsets, &grids})
    for (const Parameter& one : *all) std::ranges::copy(best[next++], one.values.begin());
  for (LearnedRounding& part : parts_) part.round(machine_.pool);
  return learnt;
}

QuantizedTensor LayerTraining::stored(std::string_view part) const {
  const auto found =
      std::ranges::find(parts_, part, [](const LearnedRounding& one) { return std::string_view(one.weight().part); });
  return found->store(machine_.pool);
}

std::uint64_t LayerTraining::bytes(const DrawnGraph& drawing, std::uint64_t weights, std::size_t length,
                                   const LayerTrainingSettings& settings) {
  constexpr std::uint64_t kNumbers = 2;  // beside what each weight's rounding takes: its gradient and the best state
  const SequenceBatch batch{settings.batch, length};
  const std::uint64_t width = drawing.graph.width(drawing.graph.outputs.front());
  const std::uint64_t stream =
      3 * batch.tokens() * width * sizeof(float) + StreamError::bytes(batch.tokens() * width, width);
  return weights * (LearnedRounding::kBytesOfWeight + kNumbers * sizeof(float)) + layer_bytes(drawing, batch) + stream;
}

}  // namespace nibble
