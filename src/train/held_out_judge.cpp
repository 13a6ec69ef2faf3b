// SPDX-License-Identifier: Apache-2.0
#include "train/held_out_judge.h"

#include <fmt/format.h>

#include <algorithm>

#include "nibble/error.h"

namespace nibble {

HeldOutJudge::HeldOutJudge(const TokenStream& text, const JudgeSettings& settings) : text_(text), settings_(settings) {
  if (settings.every == 0) return;
  if (has_row() || !settings.is_required) return;
  throw Error(
      ErrorKind::unusable_input,
      fmt::format("the held-out text is shorter than a row; hold out more of it, or give shorter rows: {} tokens, "
                  "and a row takes {}",
                  text.ids.size(), tokens_of_row()),
      "held_out");
}

// --- rows ------------------------------------------------------------------------------------------------------------

std::size_t HeldOutJudge::tokens_of_row() const {
  const bool takes_one_more = settings_.predicts_end && !text_.begin;
  return static_cast<std::size_t>(settings_.batch.length) + (takes_one_more ? 1 : 0);
}

std::size_t HeldOutJudge::num_rows() const {
  if (!has_row()) return 0;
  const std::size_t rows = (text_.ids.size() - tokens_of_row()) / static_cast<std::size_t>(settings_.batch.length) + 1;
  return std::min(rows, static_cast<std::size_t>(settings_.most_rows));
}

bool HeldOutJudge::is_due(std::uint64_t step) const {
  return settings_.every != 0 && has_row() && (step % settings_.every == 0 || step == settings_.steps);
}

double HeldOutJudge::mean_loss(const LossOfRows& loss_of) const {
  const auto length = static_cast<std::size_t>(settings_.batch.length);
  const std::size_t all = num_rows(), together = static_cast<std::size_t>(settings_.batch.size);
  double sum = 0;
  for (std::size_t first = 0; first < all; first += together) {
    const std::size_t count = std::min(together, all - first);
    std::vector<std::int32_t> rows;
    for (std::size_t row = first; row < first + count; ++row) {
      if (text_.begin) rows.push_back(*text_.begin);
      const auto begin = text_.ids.begin() + static_cast<std::ptrdiff_t>(row * length);
      rows.insert(rows.end(), begin, begin + static_cast<std::ptrdiff_t>(tokens_of_row()));
      rows.resize((row - first + 1) * (length + 1));
    }
    sum += loss_of(rows) * static_cast<double>(count);
  }
  return sum / static_cast<double>(all);
}

// --- what was best ---------------------------------------------------------------------------------------------------

void HeldOutJudge::record(std::uint64_t step, double loss, std::span<const Parameter> parameters) {
  const std::optional<LossPoint> before = best();
  const float rounded = static_cast<float>(std::max(loss, 0.0));
  if (losses_.size() <= place_of(step)) losses_.resize(place_of(step) + 1, kNotTaken);
  losses_[place_of(step)] = rounded;
  if (!settings_.keeps_best) return;
  if (!before || rounded < static_cast<float>(before->loss)) {
    waited_ = 0;
    best_.clear();
    for (const Parameter& parameter : parameters) best_.emplace_back(parameter.values.begin(), parameter.values.end());
    return;
  }
  ++waited_;
  stops_ = settings_.patience != 0 && waited_ >= settings_.patience;
}

std::vector<LossPoint> HeldOutJudge::points() const {
  std::vector<LossPoint> made;
  for (std::size_t i = 0; i < losses_.size(); ++i)
    if (losses_[i] != kNotTaken)
      made.push_back({std::min(i * settings_.every, settings_.steps), static_cast<double>(losses_[i])});
  return made;
}

std::optional<LossPoint> HeldOutJudge::best() const {
  const std::vector<LossPoint> made = points();
  const auto found = std::ranges::min_element(made, {}, &LossPoint::loss);
  return found == made.end() ? std::nullopt : std::optional(*found);
}

void HeldOutJudge::put_best(std::span<const Parameter> parameters) const {
  for (std::size_t i = 0; i < best_.size(); ++i) std::ranges::copy(best_[i], parameters[i].values.begin());
}

// --- the state of a run ----------------------------------------------------------------------------------------------

void HeldOutJudge::add_to(TrainingState& state, std::span<const Parameter> parameters) {
  state.counts["waited"] = waited_;
  state.counts["stopped"] = stops_ ? 1 : 0;
  state.counts["has_best"] = best_.empty() ? 0 : 1;
  if (!losses_.empty()) state.tensors.push_back({settings_.name, {losses_.size()}, losses_});
  for (std::size_t i = 0; i < best_.size(); ++i)
    state.tensors.push_back({parameters[i].name + ".best", {best_[i].size()}, best_[i]});
}

TrainingState HeldOutJudge::read(const std::filesystem::path& path, std::span<const Parameter> parameters,
                                 const std::function<TrainingState()>& state_of) {
  // More than there can be are of another run, which is told in its own words.
  const std::uint64_t most = settings_.every == 0 ? 0 : place_of(settings_.steps) + 1;
  losses_.assign(static_cast<std::size_t>(std::min(most, count_state_numbers(path, settings_.name))), kNotTaken);
  TrainingState saved = state_of();
  // Whether the best numbers are among them is known when the counts are.
  read_training_state(path, saved);
  if (saved.counts["has_best"] != 0 && best_.empty()) {
    for (const Parameter& parameter : parameters) best_.emplace_back(parameter.values.size());
    saved = state_of();
    read_training_state(path, saved);
  }
  waited_ = saved.counts["waited"];
  stops_ = saved.counts["stopped"] != 0;
  return saved;
}

}  // namespace nibble
