// SPDX-License-Identifier: Apache-2.0
#include "train/grid_distillation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/huge_pages.h"
#include "format/trainable_grid.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kJudgedTokens = std::size_t{1} << 14;  // of the held-out text, at most
constexpr double kMemory = 0.999, kMemoryOfCodes = 0.98;     // beta2 of AdamW
constexpr double kMostShare = 2;                             // by which the rate is larger for less than two bits

// Of numbers of so many bits a weight, as a share of those of two.
double share_of_rate(double bits_per_weight) { return std::min(kMostShare, std::exp2(2 - bits_per_weight)); }

bool is_coded_matrix(const ModelTensor& part, const StoredTensor& stored) {
  return part.shape.size() > 1 && stored.values.format() && stored.values.format()->info().kind != FormatKind::raw;
}

bool is_table(const ModelTensor& part) { return part.role == TensorRole::embedding || part.role == TensorRole::head; }

// Whether a tensor in floating point is trained.
bool is_trained_float(const ModelTensor& part, const StoredTensor& stored, const DistillationSettings& settings) {
  if (stored.values.planes() == nullptr || stored.values.format()->info().kind != FormatKind::raw) return false;
  if (part.role == TensorRole::norm || part.role == TensorRole::bias) return settings.trains_vectors;
  return settings.trains_embedding && is_table(part);
}

}  // namespace

GridDistillation::GridDistillation(const SourceModel& original, const SourceModel& quantized,
                                   const DistillationText& text, const DistillationSettings& settings, Machine& machine)
    : original_(original, machine.pool),
      weights_(quantized, machine.pool),
      settings_(settings),
      machine_(machine),
      teacher_(original.parts().network(), original_, {.arithmetic = settings.arithmetic}, machine),
      tape_(quantized.parts().network(), weights_, {.arithmetic = settings.arithmetic}, machine),
      batches_(text.training, settings.batch),
      judge_(text.held_out, {.steps = settings.steps,
                             .every = settings.validate_every,
                             .patience = settings.patience,
                             .batch = settings.batch,
                             .most_rows = std::max<std::uint64_t>(1, kJudgedTokens / settings.batch.length),
                             .predicts_end = false}) {
  const Graph& end = original.parts().network().end().graph;
  vocabulary_ = end.width(end.outputs.front());
  for (const ModelTensor& part : quantized.parts().all())
    if (is_coded_matrix(part, quantized.stored(part))) add_matrix(quantized, part);
  num_matrices_ = trained_.size();
  if (num_matrices_ == 0)
    throw Error(ErrorKind::unsupported,
                left_alone_.empty() ? "no matrix of this model is quantized, so that it has no grids to be trained"
                                    : "no matrix of this model has grids that can be trained: " + left_alone_.front());
  add_floats(quantized);
  weights_.train([&](const NetworkWeight& weight) {
    return std::ranges::any_of(trained_, [&](const TrainedPart& one) { return &one.weight() == &weight; });
  });
  // Slopes of single numbers are small: what keeps from dividing by nothing must not be what decides.
  const auto add = [&](const Parameter& parameter, double rate, double beta2) {
    parameters_.push_back(parameter);
    optimizers_.emplace_back(AdamWSettings{.rate = rate, .beta2 = beta2, .epsilon = 1e-14, .weight_decay = 0},
                             std::span(&parameter, 1));
  };
  for (TrainedPart& one : trained_) {
    add(one.numbers(), settings.rate, kMemory);
    if (one.has_codes())
      add(one.positions(), settings.code_rate * share_of_rate(one.bits_per_weight()), kMemoryOfCodes);
  }
}

void GridDistillation::add_matrix(const SourceModel& quantized, const ModelTensor& part) {
  try {
    TrainedPart one(quantized, part, *weights_.find(part.layer, part.part), machine_.pool);
    one.begin(share_of_rate(one.bits_per_weight()));
    if (settings_.code_rate > 0) one.begin_codes(share_of_rate(one.bits_per_weight()), machine_.pool);
    trained_.push_back(std::move(one));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::unsupported) throw;
    left_alone_.push_back(fmt::format("{}: {}", part.hf_name, error.what()));
  }
}

void GridDistillation::add_floats(const SourceModel& quantized) {
  double share = 0;  // as that of the matrices
  for (const TrainedPart& one : trained_)
    share += share_of_rate(one.bits_per_weight()) / static_cast<double>(num_matrices_);
  for (const ModelTensor& part : quantized.parts().all()) {
    if (!is_trained_float(part, quantized.stored(part), settings_)) continue;
    trained_.emplace_back(quantized, part, *weights_.find(part.layer, part.part), machine_.pool);
    trained_.back().begin(share);
  }
}

std::size_t GridDistillation::num_coded() const {
  return static_cast<std::size_t>(std::ranges::count_if(trained_, &TrainedPart::has_codes));
}

bool GridDistillation::trains_embedding() const {
  return std::ranges::any_of(trained_, [](const TrainedPart& one) { return is_table(one.part()) && !one.is_matrix(); });
}

std::uint64_t GridDistillation::num_numbers() const {
  std::uint64_t total = 0;
  for (const TrainedPart& one : trained_) total += one.num_numbers();
  return total;
}

// --- a step ----------------------------------------------------------------------------------------------------------

// rows: [sequences, length + 1], of which the last token is read by nobody.
double GridDistillation::run(const std::vector<std::int32_t>& rows, Tape::Walk walk) {
  const auto length = static_cast<std::size_t>(settings_.batch.length);
  std::vector<std::int32_t> ids;
  for (std::size_t begin = 0; begin < rows.size(); begin += length + 1)
    ids.insert(ids.end(), rows.begin() + static_cast<std::ptrdiff_t>(begin),
               rows.begin() + static_cast<std::ptrdiff_t>(begin + length));
  const SequenceBatch shape{ids.size() / length, length};
  // Of their size from the beginning: what is kept while they grow would be as large again.
  std::vector<float> taught = large_vector(vocabulary_ * ids.size());
  const std::size_t width = vocabulary_;
  teacher_.show_logits(ids, shape, [&](std::size_t first, std::span<const float> logits) {
    std::ranges::copy(logits, taught.begin() + static_cast<std::ptrdiff_t>(first * width));
  });
  const TeacherLogits teacher{[&](std::size_t first, std::span<float> logits) {
                                std::copy_n(taught.begin() + static_cast<std::ptrdiff_t>(first * width), logits.size(),
                                            logits.begin());
                              },
                              ids.size(), walk == Tape::Walk::there ? 1.0f : settings_.temperature};
  const double loss = tape_.run(ids, shape, divergence_loss(teacher, machine_), walk);
  if (std::isfinite(loss)) return loss;
  std::string where = tape_.unsound_place();
  if (where.empty()) where = "the divergence";
  if (step_ == 0)
    throw Error(ErrorKind::corrupt,
                fmt::format("before the first step a number is not finite, first in {}; repair the quantized model or "
                            "its original: {}",
                            where, std::isnan(loss) ? "NaN" : "infinite"));
  throw Error(
      ErrorKind::unusable_input,
      fmt::format("training has gone astray in step {}: a number is not finite, first in {}; lower the rate: {}",
                  step_ + 1, where, std::isnan(loss) ? "NaN" : "infinite"),
      "distillation_rate");
}

void GridDistillation::put_values(TrainedPart::Values values) {
  for (TrainedPart& one : trained_) one.put_values(values, machine_.pool);
}

DistillationStep GridDistillation::step() {
  if (step_ == 0 && settings_.validate_every != 0 && !judge_.has_begun())
    return {.step = 0, .loss = 0, .validation = judge()};
  const RateSchedule schedule{
      .fall = settings_.fall,
      .steps = settings_.steps,
      .warm_up = static_cast<std::uint64_t>(settings_.warm_up * static_cast<double>(settings_.steps))};
  put_values(TrainedPart::Values::trained);
  weights_.clear_gradients(machine_.pool);
  DistillationStep done;
  const BatchPosition begin = batches_.position();
  try {
    done.loss = run(batches_.next(), Tape::Walk::there_and_back);
  } catch (...) {  // the step is not done: who goes on begins with it
    batches_.go_to(begin);
    throw;
  }
  const ThreadPool::Watch undisturbed(machine_.pool, {});
  for (TrainedPart& one : trained_) one.find_slopes(machine_.pool);
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    optimizers_[i].step(std::span(&parameters_[i], 1), {.rate_factor = rate_factor(schedule, step_)}, machine_);
  done.step = ++step_;
  for (const Parameter& parameter : parameters_)
    if (first_not_finite(parameter.values))
      throw Error(ErrorKind::unusable_input,
                  fmt::format("training has gone astray in step {}: what changes {} is not finite; lower the rate",
                              step_, parameter.name),
                  "distillation_rate");
  done.validation = judge();
  return done;
}

// --- judgement -------------------------------------------------------------------------------------------------------

// Where it is time; the changes that it began with are the first that may be the best.
std::optional<double> GridDistillation::judge() {
  if (!judge_.is_due(step_)) return std::nullopt;
  put_values(TrainedPart::Values::stored);
  const double divergence =
      judge_.mean_loss([&](const std::vector<std::int32_t>& rows) { return run(rows, Tape::Walk::there); });
  judge_.record(step_, divergence, parameters_);
  return divergence;
}

void GridDistillation::keep_best() {
  judge_.put_best(parameters_);
  put_values(TrainedPart::Values::trained);
}

std::vector<DistilledTensor> GridDistillation::stored() const {
  std::vector<DistilledTensor> tensors;
  for (const TrainedPart& one : trained_) tensors.push_back({&one.part(), one.stored(machine_.pool)});
  return tensors;
}

// --- the state of a run ----------------------------------------------------------------------------------------------

TrainingState GridDistillation::state(const std::map<std::string, std::string>& run) {
  TrainingState state;
  state.settings = run;
  const auto say = [&](const char* name, const auto& value) { state.settings[name] = fmt::format("{}", value); };
  say("steps", settings_.steps);
  say("batch", settings_.batch.size);
  say("length", settings_.batch.length);
  say("text seed", settings_.batch.seed);
  say("rate", settings_.rate);
  say("rate of codes", settings_.code_rate);
  say("fall", rate_fall_name(settings_.fall));
  say("warm-up", settings_.warm_up);
  say("temperature", settings_.temperature);
  say("validate every", settings_.validate_every);
  say("patience", settings_.patience);
  say("norms and biases", settings_.trains_vectors);
  say("embedding and head", settings_.trains_embedding);
  say("arithmetic", settings_.arithmetic == ProductArithmetic::bf16 ? "bf16" : "f32");
  state.counts = {{"step", step_}, {"pass", batches_.position().pass}, {"row", batches_.position().row}};
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto add = [&](std::string_view what, std::span<float> values) {
      state.tensors.push_back({fmt::format("{}.{}", parameters_[i].name, what), {values.size()}, values});
    };
    add("change", parameters_[i].values);
    for (const OptimizerMemory& memory : optimizers_[i].memory(0)) add(memory.name, memory.values);
  }
  judge_.add_to(state, parameters_);
  return state;
}

void GridDistillation::save(const std::filesystem::path& path, const std::map<std::string, std::string>& run) {
  write_training_state(state(run), path);
}

void GridDistillation::take_up(const std::filesystem::path& path, const std::map<std::string, std::string>& run) {
  TrainingState saved = judge_.read(path, parameters_, [&] { return state(run); });
  step_ = saved.counts["step"];
  batches_.go_to({saved.counts["pass"], saved.counts["row"]});
  for (Optimizer& optimizer : optimizers_) optimizer.set_steps(step_);
}

std::uint64_t GridDistillation::bytes(const SourceModel& original, const SourceModel& quantized,
                                      const DistillationSettings& settings, Machine& machine) {
  // Of each number of a grid: where it began, its size, change, slope, what the optimizer remembers, the best change,
  // itself.
  constexpr std::uint64_t kOfNumber = 8;
  // Of each code: what its rounding takes, what the optimizer remembers, and the best position.
  constexpr std::uint64_t kOfCode = (LearnedRounding::kBytesOfWeight + sizeof(float) - 1) / sizeof(float) + 3;
  std::uint64_t numbers = 0, planes = 0;
  for (const ModelTensor& part : original.parts().all()) numbers += checked_elements(part.shape, part.hf_name);
  for (const ModelTensor& part : quantized.parts().all()) {
    const StoredTensor& stored = quantized.stored(part);
    const std::uint64_t count = checked_elements(part.shape, part.hf_name);
    numbers += count;
    if (is_trained_float(part, stored, settings)) numbers += (1 + kOfNumber) * count;
    if (!is_coded_matrix(part, stored)) continue;
    const TrainableGrid* const grids = find_trainable_grid(*stored.values.format());
    const std::size_t span = stored.values.format()->info().span;
    numbers += count;  // the gradient
    if (settings.code_rate > 0) numbers += kOfCode * count;
    planes += stored.bytes;
    if (grids == nullptr) continue;
    const std::uint64_t cols = std::max<std::uint64_t>(1, part.shape.back());
    const std::uint64_t spans = span == 0 ? 1 : (cols + span - 1) / span;
    numbers += kOfNumber * grids->num_parameters() * spans * (count / cols);
  }
  const SequenceBatch batch{static_cast<std::size_t>(settings.batch.size),
                            static_cast<std::size_t>(settings.batch.length)};
  const Graph& end = original.parts().network().end().graph;
  numbers += end.width(end.outputs.front()) * batch.tokens();  // what the original says
  NetworkWeights none(std::vector<NetworkWeight>{});
  return numbers * sizeof(float) + planes + Tape(original.parts().network(), none, {}, machine).bytes(batch) +
         Tape(quantized.parts().network(), none, {}, machine).bytes(batch);
}

}  // namespace nibble
