// SPDX-License-Identifier: Apache-2.0
#include "train/net/net_trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "graph/extents.h"
#include "net/signs.h"
#include "nibble/error.h"
#include "train/gradient_norm.h"

namespace nibble {
namespace {

constexpr std::size_t kJudgedAtATime = 100;

void require(bool condition, const char* setting, const std::string& what) {
  if (!condition) throw Error(ErrorKind::invalid_argument, what, setting);
}

NetTrainerSettings judged(const NetTrainerSettings& s) {
  require(s.epochs > 0, "epochs", "a run has at least one pass over the examples");
  require(s.batch > 0, "batch", "a step takes at least one example");
  require(s.clip >= 0, "clip", "a gradient cannot be shortened to less than nothing");
  require(s.warm_up >= 0 && s.warm_up <= 1, "warm_up", "the rate rises in a share of the steps, between 0 and 1");
  require(s.teacher_share >= 0 && s.teacher_share <= 1, "teacher_share",
          "the teacher's part of the loss lies between 0 and 1");
  require(s.temperature > 0 && std::isfinite(s.temperature), "temperature", "a temperature is greater than 0");
  return s;
}

// Of a pass: where each example stands.
std::vector<std::size_t> order_of(std::size_t count, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Random random(seed * 0x9e3779b97f4a7c15u + epoch);
  for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

// How far along one dimension neighbours are, and how many there are; nothing: it has no such dimension.
struct Along {
  std::size_t stride = 0, extent = 1;
};
Along along(const Dimensions& shape, Axis axis) {
  std::size_t stride = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    if (shape[d].axis == axis) return {stride, static_cast<std::size_t>(shape[d].extent)};
    stride *= static_cast<std::size_t>(shape[d].extent);
  }
  return {};
}

double root_mean_square(std::span<const float> numbers) {
  constexpr double kLeast = 1e-3;  // of biases that are 0
  double sum = 0;
  for (const float x : numbers) sum += static_cast<double>(x) * static_cast<double>(x);
  return std::max(kLeast, std::sqrt(sum / static_cast<double>(std::max<std::size_t>(1, numbers.size()))));
}

std::size_t place_of_largest(std::span<const float> row) {
  return static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
}

}  // namespace

ValueId decision_of(const Net& net) {
  const ValueId output = net.outputs.front().value;
  const Node* const maker = makers_of(net.graph)[output];
  const auto* const softmax = maker == nullptr ? nullptr : std::get_if<Softmax>(&maker->operation);
  const bool is_of_rows = softmax != nullptr && softmax->axis + 1 == net.graph.values[output].size();
  return is_of_rows ? maker->inputs[0] : output;
}

NetTrainer::NetTrainer(const Net& net, NetworkWeights& weights, const NetTrainingData& data,
                       const NetTrainerSettings& settings, Machine& machine, const NetTrainingHelp& help)
    : net_(net),
      weights_(weights),
      data_(data),
      settings_(judged(settings)),
      machine_(machine),
      help_(help),
      tape_(net, weights, machine),
      decision_(decision_of(net)),
      classes_(static_cast<std::size_t>(width_of(net.graph.values[decision_]))),
      rows_(static_cast<std::size_t>(rows_of(net.graph.values[decision_]))),
      steps_of_epoch_(std::max<std::uint64_t>(1, data.training.samples.size() / settings.batch)) {
  if (classes_ < 2)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: its first output {} is one number; nets are trained that choose between several",
                            net.source, net.outputs.front().name));
  // Numbers that are made again are no choice, though the largest of them can be learnt as one.
  if (data.training.labels.empty() && !net.inputs.empty() &&
      extents_of(net.graph.values[net.inputs.front().value]) == extents_of(net.graph.values[decision_]))
    throw Error(
        ErrorKind::unsupported,
        fmt::format("{}: its output {} has the shape of its input, as of a net that makes its input again; nets "
                    "are trained that choose between several, so give labels if this one does",
                    net.source, net.outputs.front().name),
        "labels");
  if (data.training.samples.size() < settings.batch)
    throw Error(ErrorKind::unusable_input,
                fmt::format("there are fewer examples than a batch takes; give more, or take smaller batches: {} of {}",
                            data.training.samples.size(), settings.batch),
                "batch");
  require_labels(data.training, "to learn from");
  require_labels(data.held_out, "held out");
  std::vector<Parameter> matrices, others;
  for (NetworkWeight& weight : weights.all()) {
    if (!weight.is_trained()) continue;
    Parameter parameter{weight.name, weight.values.rows, weight.values.cols, weight.values.values, weight.gradient};
    std::vector<float>* const masters = find_masters(weight.name);
    if (masters != nullptr) parameter.values = *masters;
    (masters == nullptr && weight.role == TensorRole::linear ? matrices : others).push_back(parameter);
  }
  const auto add_group = [&](const std::vector<Parameter>& parameters, double rate, double weight_decay) {
    const AdamWSettings adam{.rate = rate, .weight_decay = weight_decay};
    if (!parameters.empty()) groups_.push_back({parameters, Optimizer(adam, parameters)});
  };
  const auto add_weights = [&](const std::vector<Parameter>& parameters, double weight_decay) {
    if (!settings_.is_relative) return add_group(parameters, settings_.rate, weight_decay);
    for (const Parameter& one : parameters)
      add_group({one}, settings_.rate * root_mean_square(one.values), weight_decay);
  };
  add_weights(matrices, settings_.weight_decay);
  add_weights(others, 0);
  for (RoundedWeights& rounded : help_.rounded) add_group(rounded.scales(), settings_.scale_rate, 0);
  if (groups_.empty())
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: has no weights that training reaches; give a net with matrices or convolutions of its "
                            "own",
                            net.source));
}

void NetTrainer::require_labels(const NetExamples& examples, const char* what) const {
  if (examples.samples.empty()) return;
  if (examples.labels.empty()) {
    require(help_.teacher != nullptr, "labels", "a net learns from labels or from a teacher");
    return;
  }
  if (rows_ != 1)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: decides {} times for each sample, and labels say it once; let it learn from a teacher",
                            net_.source, rows_));
  for (std::size_t i = 0; i < examples.labels.size(); ++i)
    if (examples.labels[i] >= static_cast<std::int64_t>(classes_))
      throw Error(ErrorKind::unusable_input,
                  fmt::format("label {} of the examples {} is no class of {}, which has {}: {}", i + 1, what,
                              net_.source, classes_, examples.labels[i]),
                  "labels");
}

// --- batches --------------------------------------------------------------------------------------------------------

std::vector<std::vector<float>> NetTrainer::gather(const NetExamples& examples,
                                                   std::span<const std::size_t> which) const {
  std::vector<std::vector<float>> inputs(net_.inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i)
    for (const std::size_t one : which)
      inputs[i].insert(inputs[i].end(), examples.samples[one][i].begin(), examples.samples[one][i].end());
  return inputs;
}

void NetTrainer::vary(std::vector<std::vector<float>>& inputs, std::size_t samples, std::uint64_t step) const {
  if (settings_.shift == 0 && !settings_.mirrors) return;
  Random random((settings_.seed + 1) * 0xbf58476d1ce4e5b9u + step);
  const auto most = static_cast<std::ptrdiff_t>(settings_.shift);
  const auto drawn = [&] { return static_cast<std::ptrdiff_t>(random.below(2 * settings_.shift + 1)) - most; };
  std::vector<float> before;
  for (std::size_t sample = 0; sample < samples; ++sample) {
    const std::ptrdiff_t down = drawn(), right = drawn();
    const bool is_mirrored = random.uniform() < 0.5 && settings_.mirrors;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      const Dimensions& shape = net_.graph.values[net_.inputs[k].value];
      const Along height = along(shape, Axis::height), width = along(shape, Axis::width);
      if (width.stride == 0) continue;
      const std::span<float> one =
          std::span(inputs[k]).subspan(sample * (inputs[k].size() / samples), inputs[k].size() / samples);
      before.assign(one.begin(), one.end());
      const auto from = [](std::size_t place, std::ptrdiff_t by, std::size_t extent) {
        return static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(place) - by, 0,
                                                                   static_cast<std::ptrdiff_t>(extent) - 1));
      };
      for (std::size_t i = 0; i < one.size(); ++i) {
        const std::size_t row = height.stride == 0 ? 0 : i / height.stride % height.extent,
                          col = i / width.stride % width.extent;
        const std::size_t old_row = from(row, down, height.extent);
        const std::size_t moved = from(col, right, width.extent),
                          old_col = is_mirrored ? width.extent - 1 - moved : moved;
        one[i] =
            before[i - row * height.stride - col * width.stride + old_row * height.stride + old_col * width.stride];
      }
    }
  }
}

std::vector<float> NetTrainer::taught(const std::vector<std::vector<float>>& inputs, std::size_t samples) {
  if (help_.teacher == nullptr || settings_.teacher_share == 0) return {};
  help_.teacher->forward(inputs, samples, NetTape::Norms::stored);
  const std::span<const float> logits = help_.teacher->value(decision_of(*help_.taught));
  return {logits.begin(), logits.end()};
}

std::vector<std::int32_t> NetTrainer::targets_of(const NetExamples& examples,
                                                 std::span<const std::size_t> which) const {
  std::vector<std::int32_t> targets(which.size() * rows_, kNoTarget);
  for (std::size_t i = 0; i < which.size() && !examples.labels.empty(); ++i)
    targets[i] = static_cast<std::int32_t>(std::max<std::int64_t>(examples.labels[which[i]], kNoTarget));
  return targets;
}

LossFunction NetTrainer::loss_of(const std::vector<std::int32_t>& targets, const std::vector<float>& taught) {
  LossFunction of_labels = next_token_loss(targets, machine_);
  if (taught.empty()) return of_labels;
  LossFunction of_teacher =
      divergence_loss({[&taught, this](std::size_t first, std::span<float> logits) {
                         std::ranges::copy(std::span(taught).subspan(first * classes_, logits.size()), logits.begin());
                       },
                       targets.size(), static_cast<float>(settings_.temperature)},
                      machine_);
  const bool has_labels = !data_.training.labels.empty();
  return mixed_loss(std::move(of_teacher), has_labels ? settings_.teacher_share : 1, std::move(of_labels));
}

// --- steps ----------------------------------------------------------------------------------------------------------

void NetTrainer::round() {
  for (RoundedWeights& rounded : help_.rounded) rounded.round(machine_.pool);
}

std::vector<float>* NetTrainer::find_masters(const std::string& name) {
  for (RoundedWeights& rounded : help_.rounded)
    if (std::vector<float>* const masters = rounded.find_masters(name)) return masters;
  return nullptr;
}

double NetTrainer::step() {
  // Norms of batches remember what was seen as they see it: a step is whole, and short.
  const ThreadPool::Watch undisturbed(machine_.pool, {});
  if (step_ == 0 && judgements_.empty()) judge_and_remember();
  const auto batch = static_cast<std::size_t>(settings_.batch);
  const std::uint64_t epoch = step_ / steps_of_epoch_;
  const std::vector<std::size_t> order = order_of(data_.training.samples.size(), settings_.seed, epoch);
  const std::span<const std::size_t> which =
      std::span(order).subspan(static_cast<std::size_t>(step_ % steps_of_epoch_) * batch, batch);
  std::vector<std::vector<float>> inputs = gather(data_.training, which);
  vary(inputs, batch, step_);
  weights_.clear_gradients(machine_.pool);
  for (RoundedWeights& rounded : help_.rounded) rounded.clear_gradients();
  round();
  const std::vector<float> taught_logits = taught(inputs, batch);
  tape_.forward(std::move(inputs), batch, NetTape::Norms::of_batch);
  const std::span<const float> made = tape_.value(decision_);
  std::vector<float> logits(made.begin(), made.end());
  std::vector<double> losses(logits.size() / classes_);
  const std::vector<std::int32_t> targets = targets_of(data_.training, which);
  loss_of(targets, taught_logits)(0, logits, losses);
  const double loss = std::accumulate(losses.begin(), losses.end(), 0.0);
  if (!std::isfinite(loss))
    throw Error(
        ErrorKind::unusable_input,
        fmt::format("training has gone astray in step {}: the loss is not finite; lower the rate, or the longest "
                    "gradient: {}",
                    step_ + 1, std::isnan(loss) ? "NaN" : "infinite"),
        "net_rate");
  tape_.backward({{decision_, std::move(logits)}});
  for (RoundedWeights& rounded : help_.rounded) rounded.pull_back(machine_.pool);
  std::vector<Parameter> all;
  for (const Group& group : groups_) all.insert(all.end(), group.parameters.begin(), group.parameters.end());
  const double factor =
      rate_factor({.fall = settings_.fall,
                   .steps = steps(),
                   .warm_up = static_cast<std::uint64_t>(settings_.warm_up * static_cast<double>(steps()))},
                  step_);
  const double shortened = settings_.clip == 0 ? 1 : clip_factor(gradient_norm(all, machine_.pool), settings_.clip);
  for (Group& group : groups_)
    group.optimizer.step(group.parameters, {.rate_factor = factor, .gradient_factor = shortened}, machine_);
  summed_loss_ += loss;
  if (++step_ % steps_of_epoch_ != 0) return loss;
  losses_.push_back(summed_loss_ / static_cast<double>(steps_of_epoch_));
  summed_loss_ = 0;
  round();
  judge_and_remember();
  return loss;
}

void NetTrainer::judge_and_remember() {
  if (data_.held_out.samples.empty()) return;
  const std::optional<NetJudgement> before = best();
  judgements_.push_back(judge());
  const bool is_of_none = judgements_.size() == 1 && !settings_.keeps_beginning;
  if (is_of_none || (before && !judgements_.back().is_better_than(*before))) return;
  best_.clear();
  for (const std::span<float> numbers : changed()) best_.emplace_back(numbers.begin(), numbers.end());
}

NetJudgement NetTrainer::judge() {
  const NetExamples& held = data_.held_out;
  NetJudgement made{.epoch = step_ / steps_of_epoch_};
  double loss = 0;
  for (std::size_t first = 0; first < held.samples.size(); first += kJudgedAtATime) {
    std::vector<std::size_t> which(std::min(kJudgedAtATime, held.samples.size() - first));
    std::iota(which.begin(), which.end(), first);
    std::vector<std::vector<float>> inputs = gather(held, which);
    const std::vector<float> taught_logits = taught(inputs, which.size());
    tape_.forward(std::move(inputs), which.size(), NetTape::Norms::stored);
    const std::span<const float> logits = tape_.value(decision_);
    const std::vector<std::int32_t> targets = targets_of(held, which);
    for (std::size_t row = 0; row < targets.size(); ++row) {
      const std::size_t decided = place_of_largest(logits.subspan(row * classes_, classes_));
      const bool has_label = !held.labels.empty();
      if (has_label && targets[row] < 0) continue;
      const std::size_t should = has_label
                                     ? static_cast<std::size_t>(targets[row])
                                     : place_of_largest(std::span(taught_logits).subspan(row * classes_, classes_));
      ++made.examples;
      made.right += decided == should ? 1 : 0;
    }
    std::vector<float> slopes(logits.begin(), logits.end());
    std::vector<double> losses(targets.size());
    loss_of(targets, taught_logits)(0, slopes, losses);
    loss += std::accumulate(losses.begin(), losses.end(), 0.0) * static_cast<double>(which.size());
  }
  made.loss = loss / static_cast<double>(std::max<std::size_t>(1, held.samples.size()));
  return made;
}

// --- what is kept ---------------------------------------------------------------------------------------------------

std::vector<std::span<float>> NetTrainer::changed() {
  std::vector<std::span<float>> all;
  for (NetworkWeight& weight : weights_.all())
    if (!is_learnt(weight)) all.emplace_back(weight.values.values);
  for (Group& group : groups_)
    for (Parameter& parameter : group.parameters) all.push_back(parameter.values);
  return all;
}

std::optional<NetJudgement> NetTrainer::best_from(std::size_t first) const {
  std::optional<NetJudgement> found;
  for (std::size_t i = first; i < judgements_.size(); ++i)
    if (!found || judgements_[i].is_better_than(*found)) found = judgements_[i];
  return found;
}

std::optional<NetJudgement> NetTrainer::best() const { return best_from(settings_.keeps_beginning ? 0 : 1); }

std::optional<NetJudgement> NetTrainer::best_learnt() const { return best_from(1); }

void NetTrainer::keep_best() {
  const std::vector<std::span<float>> places = changed();
  for (std::size_t i = 0; i < best_.size(); ++i) std::ranges::copy(best_[i], places[i].begin());
  round();
}

}  // namespace nibble
