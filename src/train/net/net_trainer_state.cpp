// SPDX-License-Identifier: Apache-2.0
//
// Where a run stands, in a file and back.
#include <fmt/format.h>

#include <algorithm>

#include "train/net/net_trainer.h"

namespace nibble {
namespace {

// Figures of passes as rows of a tensor; those that are not done yet are -1.
constexpr std::size_t kFigures = 4;  // loss, and of a judgement examples, right, loss
constexpr float kNotDone = -1;

}  // namespace

TrainingState NetTrainer::state(const std::map<std::string, std::string>& run) {
  TrainingState state;
  state.settings = run;
  const auto set = [&](const char* name, const auto& value) { state.settings[name] = fmt::format("{}", value); };
  set("epochs", settings_.epochs);
  set("batch", settings_.batch);
  set("rate", settings_.rate);
  set("is_relative", settings_.is_relative);
  set("scale_rate", settings_.scale_rate);
  set("weight_decay", settings_.weight_decay);
  set("clip", settings_.clip);
  set("fall", rate_fall_name(settings_.fall));
  set("warm_up", settings_.warm_up);
  set("shift", settings_.shift);
  set("mirrors", settings_.mirrors);
  set("seed", settings_.seed);
  set("teacher_share", settings_.teacher_share);
  set("temperature", settings_.temperature);
  set("keeps_beginning", settings_.keeps_beginning);
  set("examples", data_.training.samples.size());
  set("held_out", data_.held_out.samples.size());
  state.counts = {{"steps", step_}, {"has_best", best_.empty() ? 0 : 1}};
  state.figures = {{"summed_loss", summed_loss_}};
  for (NetworkWeight& weight : weights_.all())
    if (!is_learnt(weight)) state.tensors.push_back({weight.name, {weight.values.values.size()}, weight.values.values});
  for (Group& group : groups_)
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
      Parameter& parameter = group.parameters[i];
      state.tensors.push_back({parameter.name, {parameter.rows, parameter.cols}, parameter.values});
      for (const OptimizerMemory& memory : group.optimizer.memory(i))
        state.tensors.push_back(
            {fmt::format("{}/{}", parameter.name, memory.name), {parameter.rows, parameter.cols}, memory.values});
    }
  for (std::size_t i = 0; i < best_.size(); ++i)
    state.tensors.push_back({fmt::format("best/{}", i), {best_[i].size()}, best_[i]});
  return state;
}

void NetTrainer::save(const std::filesystem::path& path, const std::map<std::string, std::string>& run) {
  TrainingState state = this->state(run);
  std::vector<float> figures((settings_.epochs + 1) * kFigures, kNotDone);
  for (std::size_t i = 0; i < losses_.size(); ++i) figures[i * kFigures] = static_cast<float>(losses_[i]);
  for (std::size_t i = 0; i < judgements_.size(); ++i) {
    figures[i * kFigures + 1] = static_cast<float>(judgements_[i].examples);
    figures[i * kFigures + 2] = static_cast<float>(judgements_[i].right);
    figures[i * kFigures + 3] = static_cast<float>(judgements_[i].loss);
  }
  state.tensors.push_back({"figures", {settings_.epochs + 1, kFigures}, figures});
  write_training_state(state, path);
}

void NetTrainer::take_up(const std::filesystem::path& path, const std::map<std::string, std::string>& run) {
  std::vector<float> figures((settings_.epochs + 1) * kFigures);
  const auto read = [&] {
    TrainingState saved = state(run);
    saved.tensors.push_back({"figures", {settings_.epochs + 1, kFigures}, figures});
    read_training_state(path, saved);
    return saved;
  };
  best_.clear();
  TrainingState saved = read();
  if (saved.counts["has_best"] != 0) {  // whether they are there is known when the counts are
    for (const std::span<float> numbers : changed()) best_.emplace_back(numbers.size());
    saved = read();
  }
  step_ = saved.counts["steps"];
  summed_loss_ = saved.figures["summed_loss"];
  for (Group& group : groups_) group.optimizer.set_steps(step_);
  losses_.clear();
  judgements_.clear();
  for (std::size_t i = 0; i <= settings_.epochs; ++i) {
    const float* const row = &figures[i * kFigures];
    if (row[0] != kNotDone) losses_.push_back(static_cast<double>(row[0]));
    if (row[1] != kNotDone)
      judgements_.push_back(
          {i, static_cast<std::uint64_t>(row[1]), static_cast<std::uint64_t>(row[2]), static_cast<double>(row[3])});
  }
  round();
}

}  // namespace nibble
