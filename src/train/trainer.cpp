// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "format/format.h"
#include "nibble/error.h"
#include "train/astray.h"
#include "train/gradient_norm.h"

namespace nibble {
namespace {

constexpr std::size_t kValidationTokens = std::size_t{1} << 15;  // of the held-out text, at most

void require(bool condition, const char* setting, const std::string& what) {
  if (!condition) throw Error(ErrorKind::invalid_argument, what, setting);
}

TrainerSettings judged(const TrainerSettings& s) {
  require(s.steps > 0, "steps", "a run has at least one step");
  require(s.accumulate > 0, "accumulate", "a step takes at least one batch");
  require(s.clip >= 0, "clip", "a gradient cannot be shortened to less than nothing");
  require(s.warm_up >= 0 && s.hold >= 0 && s.warm_up + s.hold <= 1, "warm_up",
          "the shares of a run in which the rate rises and stays must lie between 0 and 1 together");
  require(s.teacher_share >= 0 && s.teacher_share <= 1, "teacher_share",
          "the teacher's part of the loss lies between 0 and 1");
  require(s.temperature > 0 && std::isfinite(s.temperature), "temperature", "a temperature is greater than 0");
  return s;
}

RateSchedule schedule_of(const TrainerSettings& s) {
  const auto steps = [&](double share) { return static_cast<std::uint64_t>(share * static_cast<double>(s.steps)); };
  return {.fall = s.fall, .steps = s.steps, .warm_up = steps(s.warm_up), .hold = steps(s.hold), .last = s.last};
}

bool is_layers_matrix(std::int64_t layer, TensorRole role, std::uint64_t rows) {
  return layer != Network::kBegin && rows > 1 && (role == TensorRole::linear || role == TensorRole::router);
}

bool is_layers_matrix(const NetworkWeight& weight) {
  return is_layers_matrix(weight.layer, weight.role, weight.values.rows);
}

OptimizerSettings settings_of(const TrainerSettings& s, double weight_decay) {
  if (s.optimizer == OptimizerKind::sgd) return SgdSettings{.rate = s.rate, .weight_decay = weight_decay};
  return AdamWSettings{.rate = s.rate, .beta2 = 0.98, .weight_decay = weight_decay};
}

// Of rows [length + 1] what is read, and what is to be predicted.
struct Halves {
  std::vector<std::int32_t> read, predicted;
  Halves(const std::vector<std::int32_t>& rows, std::size_t length) {
    for (std::size_t begin = 0; begin < rows.size(); begin += length + 1)
      for (std::size_t i = 0; i < length; ++i) {
        read.push_back(rows[begin + i]);
        predicted.push_back(rows[begin + i + 1]);
      }
  }
};

// Where it is to be judged on the way, there is a row of the text: known before the first step.
JudgeSettings judge_settings(const TrainerSettings& s, const TrainingText& text) {
  const bool is_asked_for = s.patience != 0 || s.validate_every <= s.steps;
  return {.steps = s.steps,
          .every = s.validate_every,
          .patience = s.patience,
          .keeps_best = s.patience != 0,
          .is_required = text.is_to_judge || (is_asked_for && !text.held_out.ids.empty()),
          .batch = s.batch,
          .most_rows = (kValidationTokens + s.batch.length - 1) / s.batch.length,
          .name = "validations"};
}

const std::pair<OptimizerKind, std::string_view> kOptimizers[] = {
    {OptimizerKind::muon, "muon"}, {OptimizerKind::adamw, "adamw"}, {OptimizerKind::sgd, "sgd"}};

}  // namespace

std::string_view optimizer_name(OptimizerKind kind) {
  return std::ranges::find(kOptimizers, kind, &std::pair<OptimizerKind, std::string_view>::first)->second;
}

std::optional<OptimizerKind> find_optimizer(std::string_view name) {
  for (const auto& [kind, known] : kOptimizers)
    if (known == name) return kind;
  return std::nullopt;
}

Trainer::Trainer(const Network& network, NetworkWeights& weights, const TrainingText& text,
                 const TrainerSettings& settings, Machine& machine, const TrainingHelp& help)
    : weights_(weights),
      settings_(judged(settings)),
      machine_(machine),
      help_(help),
      tape_(network, weights, {.arithmetic = settings.arithmetic, .kv = settings.kv}, machine),
      batches_(text.training, settings.batch),
      judge_(text.held_out, judge_settings(settings, text)),
      curve_((settings.steps + stride() - 1) / stride()) {
  const Graph& end = network.end().graph;
  vocabulary_ = end.width(end.outputs.front());
  const std::vector<Parameter> all = weights.parameters();
  require(!all.empty(), "train", "nothing of the model is to be trained");
  std::vector<Parameter> matrices, others;
  std::size_t i = 0;
  for (const NetworkWeight& weight : weights.all()) {
    if (!weight.is_trained()) continue;
    Parameter parameter = all[i++];
    if (help_.rounded != nullptr)
      if (std::vector<float>* const masters = help_.rounded->find_masters(weight.name)) parameter.values = *masters;
    (is_layers_matrix(weight) ? matrices : others).push_back(parameter);
  }
  const auto add_group = [&](const std::vector<Parameter>& parameters, const OptimizerSettings& optimizer) {
    if (!parameters.empty()) groups_.push_back({parameters, Optimizer(optimizer, parameters)});
  };
  add_group(matrices,
            settings_.optimizer == OptimizerKind::muon
                ? OptimizerSettings(MuonSettings{.rate = settings_.matrix_rate, .weight_decay = settings_.weight_decay})
                : settings_of(settings_, settings_.weight_decay));
  add_group(others, settings_of(settings_, 0));
  if (help_.rounded != nullptr)
    add_group(help_.rounded->scales(), AdamWSettings{.rate = settings_.scale_rate, .beta2 = 0.98, .weight_decay = 0});
}

std::vector<Parameter> Trainer::parameters() const {
  std::vector<Parameter> all;
  for (const Group& group : groups_) all.insert(all.end(), group.parameters.begin(), group.parameters.end());
  return all;
}

void Trainer::refuse_loss(double loss, const std::string& what, std::uint64_t step) const {
  // On the way back the network's end comes first.
  const auto all = std::as_const(weights_).all();
  const auto unsound =
      std::find_if(all.rbegin(), all.rend(), [](const NetworkWeight& w) { return !!first_not_finite(w.gradient); });
  std::string where;
  std::string place = tape_.unsound_place();
  const bool is_of_teacher = help_.teacher != nullptr && place.empty();
  if (place.empty() && unsound != all.rend()) place = "the gradient by " + unsound->name;
  if (!place.empty()) where = fmt::format(", and what holds such a number first is {}", place);
  // Before the first step no rate has done anything.
  if (step_ == 0 && settings_.begins_trained)
    throw Error(ErrorKind::corrupt,
                fmt::format("{} of the model that training begins with{} is not finite{}; repair the model: {}", what,
                            is_of_teacher ? ", or of its teacher," : "", where, std::isnan(loss) ? "NaN" : "infinite"));
  throw Error(ErrorKind::unusable_input,
              fmt::format("training has gone astray in step {}: {} is not finite{}; lower the rate, or the longest "
                          "gradient: {}",
                          step, what, where, std::isnan(loss) ? "NaN" : "infinite"),
              "rate");
}

LossFunction Trainer::loss_of(std::span<const std::int32_t> read, std::span<const std::int32_t> predicted,
                              const SequenceBatch& shape) {
  LossFunction of_text = next_token_loss(predicted, machine_);
  if (help_.teacher == nullptr || settings_.teacher_share == 0) return of_text;
  help_.teacher->listen(read, shape);
  LossFunction of_teacher = divergence_loss(
      {[teacher = help_.teacher](std::size_t first, std::span<float> logits) { teacher->read_logits(first, logits); },
       shape.tokens(), static_cast<float>(settings_.temperature)},
      machine_);
  return mixed_loss(std::move(of_teacher), settings_.teacher_share, std::move(of_text));
}

TrainingStep Trainer::step() {
  if (is_beginning_due()) judge_.record(0, validation_loss(), parameters());
  weights_.clear_gradients(machine_.pool);
  if (help_.rounded != nullptr) help_.rounded->clear_gradients();
  put_weights();
  const std::size_t length = static_cast<std::size_t>(settings_.batch.length);
  const SequenceBatch shape = {static_cast<std::size_t>(settings_.batch.size), length};
  double loss = 0;
  const BatchPosition begin = batches_.position();
  try {
    for (std::uint64_t i = 0; i < settings_.accumulate; ++i) {
      const Halves halves(batches_.next(), length);
      loss += tape_.run(halves.read, shape, loss_of(halves.read, halves.predicted, shape), Tape::Walk::there_and_back) /
              static_cast<double>(settings_.accumulate);
      if (!std::isfinite(loss)) refuse_loss(loss, "the loss", step_ + 1);
    }
  } catch (...) {  // the step is not done: who goes on begins with it
    batches_.go_to(begin);
    throw;
  }
  const ThreadPool::Watch undisturbed(machine_.pool, {});
  if (help_.rounded != nullptr) help_.rounded->pull_back(machine_.pool);
  const double share = 1 / static_cast<double>(settings_.accumulate);
  const double norm = share * gradient_norm(parameters(), machine_.pool);
  if (!std::isfinite(norm)) refuse_loss(norm, "the gradient's length", step_ + 1);
  const double factor = rate_factor(schedule_of(settings_), step_);
  const StepScale scale = {.rate_factor = factor, .gradient_factor = share * clip_factor(norm, settings_.clip)};
  for (Group& group : groups_) group.optimizer.step(group.parameters, scale, machine_);
  weights_.hold_in_bounds(machine_.pool);
  ++step_;
  require_finite_weights();
  summed_loss_ += loss;
  if (step_ % stride() == 0 || step_ == settings_.steps) {
    const std::uint64_t point = (step_ - 1) / stride(), steps = step_ - point * stride();
    curve_[static_cast<std::size_t>(point)] = static_cast<float>(summed_loss_ / static_cast<double>(steps));
    summed_loss_ = 0;
  }
  TrainingStep done = {.step = step_, .loss = loss, .gradient_norm = norm, .rate_factor = factor};
  if (judge_.is_due(step_)) {
    done.validation = validation_loss();
    judge_.record(step_, *done.validation, parameters());
    if (!is_done()) require_learnt();
  }
  return done;
}

// --- held-out text ---------------------------------------------------------------------------------------------------

// Grids of inputs that are found by the rows seen first are the first step's to find, unless the beginning may be kept.
bool Trainer::is_beginning_due() const {
  if (step_ != 0 || !settings_.begins_trained || settings_.validate_every == 0) return false;
  if (!judge_.has_row() || judge_.has_begun()) return false;
  return settings_.patience != 0 ||
         std::ranges::none_of(std::as_const(weights_).all(), [](const NetworkWeight& weight) {
           return weight.inputs && weight.inputs->format.is_static();
         });
}

void Trainer::put_weights() {
  if (help_.rounded != nullptr) help_.rounded->round(machine_.pool);
}

double Trainer::validation_loss() {
  put_weights();
  const std::size_t length = static_cast<std::size_t>(settings_.batch.length);
  const double loss = judge_.mean_loss([&](const std::vector<std::int32_t>& rows) {
    const Halves halves(rows, length);
    const SequenceBatch shape = {halves.read.size() / length, length};
    return tape_.run(halves.read, shape, loss_of(halves.read, halves.predicted, shape), Tape::Walk::there);
  });
  if (!std::isfinite(loss)) refuse_loss(loss, "the loss of the held-out text", step_);
  return loss;
}

// A step may be so long that what it makes is no number, which the next one would find.
void Trainer::require_finite_weights() const {
  for (const Parameter& parameter : parameters())
    if (const auto place = first_not_finite(parameter.values))
      throw Error(ErrorKind::unusable_input,
                  fmt::format("training has gone astray in step {}: a number of {} is not finite; lower the rate, or "
                              "the longest gradient: {}",
                              step_, parameter.name, parameter.values[*place]),
                  "rate");
}

CourseOfLosses Trainer::course() const {
  return {std::log(static_cast<double>(vocabulary_)), curve(), judge_.points()};
}

// Numbers may grow without an end and still be numbers. Where a better state is kept, that is what is written.
void Trainer::require_learnt() const {
  if (judge_.has_best()) return;
  if (const std::string why = astray_where_judged(course()); !why.empty())
    throw Error(ErrorKind::unusable_input,
                fmt::format("training has gone astray: {}; lower the rate, or the longest gradient", why), "rate");
}

std::string Trainer::doubt() const {
  if (judge_.has_best()) return {};
  const CourseOfLosses losses = course();
  const bool is_judged = !losses.held_out.empty() && losses.held_out.back().step == step_;
  const std::string why = is_judged ? astray_where_judged(losses) : std::string();
  // A single judgement, of a run that began with nothing, has no other beside it.
  return !why.empty() || (is_judged && losses.held_out.size() > 1) ? why : astray_by_training(losses);
}

void Trainer::keep_best() {
  judge_.put_best(parameters());
  put_weights();
}

std::vector<LossPoint> Trainer::curve() const {
  std::vector<LossPoint> points;
  for (std::uint64_t i = 0; i * stride() < step_; ++i) {
    const std::uint64_t end = std::min((i + 1) * stride(), settings_.steps);
    if (end <= step_) points.push_back({end, static_cast<double>(curve_[static_cast<std::size_t>(i)])});
  }
  return points;
}

// --- the state of a run ----------------------------------------------------------------------------------------------

TrainingState Trainer::state(const std::map<std::string, std::string>& run) {
  const TrainerSettings& s = settings_;
  TrainingState state;
  state.settings = run;
  const auto say = [&](const char* name, const auto& value) { state.settings[name] = fmt::format("{}", value); };
  say("steps", s.steps);
  say("batch", s.batch.size);
  say("length", s.batch.length);
  say("text seed", s.batch.seed);
  say("accumulate", s.accumulate);
  say("optimizer", optimizer_name(s.optimizer));
  say("rate", s.rate);
  say("matrix rate", s.matrix_rate);
  say("weight decay", s.weight_decay);
  say("clip", s.clip);
  say("fall", rate_fall_name(s.fall));
  say("warm-up", s.warm_up);
  say("hold", s.hold);
  say("last", s.last);
  say("arithmetic", s.arithmetic == ProductArithmetic::bf16 ? "bf16" : "f32");
  say("validate every", s.validate_every);
  say("patience", s.patience);
  if (help_.rounded != nullptr) {
    say("scale rate", s.scale_rate);
    for (std::size_t i = 0; i < help_.rounded->size(); ++i)
      state.settings[help_.rounded->name(i)] =
          fmt::format("{} by {}", help_.rounded->format(i)->name(), help_.rounded->estimator(i).name());
  }
  if (s.kv != KvType::f32) say("keys and values", kv_type_name(s.kv));
  if (help_.teacher != nullptr) {
    say("teacher's share", s.teacher_share);
    say("temperature", s.temperature);
  }
  state.counts = {{"step", step_}, {"pass", batches_.position().pass}, {"row", batches_.position().row}};
  state.figures = {{"summed_loss", summed_loss_}};
  const auto add = [&](const std::string& name, std::span<float> values) {
    state.tensors.push_back({name, {values.size()}, values});
  };
  add("curve", curve_);
  for (Group& group : groups_)
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
      add(group.parameters[i].name, group.parameters[i].values);
      for (const OptimizerMemory& memory : group.optimizer.memory(i))
        add(group.parameters[i].name + "." + std::string(memory.name), memory.values);
    }
  judge_.add_to(state, parameters());
  // Static grids of inputs are found in the first step.
  input_grids_.clear();
  for (const NetworkWeight& weight : weights_.all())
    if (weight.inputs) {
      state.settings[weight.name + " inputs"] = activation_format_name(weight.inputs->format);
      input_grids_.push_back(weight.inputs->grid.scale);
      input_grids_.push_back(static_cast<float>(weight.inputs->grid.zero));
    }
  if (!input_grids_.empty()) add("input grids", input_grids_);
  return state;
}

void Trainer::save(const std::filesystem::path& path, const std::map<std::string, std::string>& run) {
  write_training_state(state(run), path);
}

void Trainer::take_up(const std::filesystem::path& path, const std::map<std::string, std::string>& run) {
  TrainingState saved = judge_.read(path, parameters(), [&] { return state(run); });
  std::size_t place = 0;
  for (NetworkWeight& weight : weights_.all())
    if (weight.inputs) {
      weight.inputs->grid.scale = input_grids_[place++];
      weight.inputs->grid.zero = static_cast<std::int32_t>(input_grids_[place++]);
    }
  step_ = saved.counts["step"];
  summed_loss_ = saved.figures["summed_loss"];
  batches_.go_to({saved.counts["pass"], saved.counts["row"]});
  for (Group& group : groups_) group.optimizer.set_steps(step_);
}

std::uint64_t Trainer::weight_bytes(std::span<const ModelTensor> tensors, const TrainerSettings& settings) {
  std::uint64_t numbers = 0, most = 0;
  for (const ModelTensor& tensor : tensors) {
    const std::uint64_t count = checked_elements(tensor.shape, tensor.hf_name);
    const bool is_muons = settings.optimizer == OptimizerKind::muon &&
                          is_layers_matrix(tensor.layer, tensor.role, tensor.shape.size() > 1 ? tensor.shape[0] : 1);
    const std::uint64_t remembered = is_muons || settings.optimizer == OptimizerKind::sgd ? 1 : 2;
    numbers += count * (2 + remembered + (settings.patience != 0 ? 1 : 0));  // itself, its gradient, the best so far
    if (is_muons) most = std::max(most, count);
  }
  constexpr std::uint64_t kOrthogonalMatrices = 6;  // that Muon works with, of the size of the one at hand
  return (numbers + kOrthogonalMatrices * most) * sizeof(float);
}

std::uint64_t Trainer::batch_bytes(const Network& network, const TrainerSettings& settings, Machine& machine) {
  const SequenceBatch batch = {static_cast<std::size_t>(settings.batch.size),
                               static_cast<std::size_t>(settings.batch.length)};
  NetworkWeights none(std::vector<NetworkWeight>{});
  return Tape(network, none, {.arithmetic = settings.arithmetic}, machine).bytes(batch);
}

}  // namespace nibble
