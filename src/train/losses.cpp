// SPDX-License-Identifier: Apache-2.0
#include "train/losses.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "kernels/log_probabilities.h"
#include "kernels/training/training_loops.h"

namespace nibble {
namespace {

// body(row, token of the batch, place in losses)
template <class Body>
void for_each_token(std::span<float> logits, std::size_t tokens, Machine& machine, Body&& body) {
  const std::size_t width = logits.size() / tokens;
  machine.pool.parallel_for(tokens, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) body(logits.subspan(t * width, width), t);
  });
}

}  // namespace

std::vector<std::int32_t> following_tokens(std::span<const std::int32_t> ids, std::size_t length) {
  std::vector<std::int32_t> targets(ids.begin() + 1, ids.end());
  targets.push_back(kNoTarget);
  for (std::size_t i = length - 1; i < targets.size(); i += length) targets[i] = kNoTarget;
  return targets;
}

LossFunction next_token_loss(std::span<const std::int32_t> targets, Machine& machine) {
  const auto counted = targets.size() - static_cast<std::size_t>(std::ranges::count(targets, kNoTarget));
  const double share = counted == 0 ? 0 : 1 / static_cast<double>(counted);
  return [targets, share, &machine](std::size_t first, std::span<float> logits, std::span<double> losses) {
    const TrainingLoops& loops = training_loops(machine.isa);
    for_each_token(logits, losses.size(), machine, [&](std::span<float> row, std::size_t t) {
      const std::int32_t target = targets[first + t];
      if (target == kNoTarget) {
        losses[t] = 0;
        std::ranges::fill(row, 0.0F);
        return;
      }
      const auto place = static_cast<std::size_t>(target);
      const LogSumExp whole = log_sum_exp(row.data(), row.size(), machine.isa);
      losses[t] = share * (whole.log_sum - static_cast<double>(row[place]));
      loops.probabilities(row.data(), row.size(), static_cast<float>(whole.log_sum), static_cast<float>(share));
      row[place] -= static_cast<float>(share);
    });
  };
}

LossFunction own_token_loss(const OwnTargets& own, Machine& machine) {
  const double share = 1 / static_cast<double>(own.tokens);
  return [own, share, &machine](std::size_t first, std::span<float> logits, std::span<double> losses) {
    const TrainingLoops& loops = training_loops(machine.isa);
    for_each_token(logits, losses.size(), machine, [&](std::span<float> row, std::size_t t) {
      const LogSumExp whole = log_sum_exp(row.data(), row.size(), machine.isa);
      Random random(own.seed ^ (own.first_token + first + t) * 0x9e3779b97f4a7c15u);
      double left = random.uniform();
      std::size_t place = 0;
      for (; place + 1 < row.size(); ++place) {
        left -= std::exp(static_cast<double>(row[place]) - whole.log_sum);
        if (left < 0) break;
      }
      losses[t] = share * (whole.log_sum - static_cast<double>(row[place]));
      loops.probabilities(row.data(), row.size(), static_cast<float>(whole.log_sum), static_cast<float>(share));
      row[place] -= static_cast<float>(share);
    });
  };
}

LossFunction divergence_loss(TeacherLogits teacher, Machine& machine) {
  return
      [teacher = std::move(teacher), &machine](std::size_t first, std::span<float> logits, std::span<double> losses) {
        std::vector<float> taught(logits.size());
        teacher.fill(first, taught);
        const std::size_t width = logits.size() / losses.size();
        const double share = 1 / static_cast<double>(teacher.tokens);
        const TrainingLoops& loops = training_loops(machine.isa);
        const float inverse = 1 / teacher.temperature, factor = static_cast<float>(share) * inverse;
        for_each_token(logits, losses.size(), machine, [&](std::span<float> row, std::size_t t) {
          const std::span<float> p = std::span(taught).subspan(t * width, width);
          for (std::size_t i = 0; i < width && teacher.temperature != 1; ++i) {
            row[i] *= inverse;
            p[i] *= inverse;
          }
          const LogitDivergence apart = divergence_of_logits(p.data(), row.data(), width, machine.isa);
          losses[t] = share * apart.kl;
          loops.probabilities(row.data(), width, static_cast<float>(apart.log_sum_q), factor);
          loops.probabilities(p.data(), width, static_cast<float>(apart.log_sum_p), factor);
          for (std::size_t i = 0; i < width; ++i) row[i] -= p[i];
        });
      };
}

LossFunction mixed_loss(LossFunction first, double share, LossFunction second) {
  if (share == 1) return first;
  if (share == 0) return second;
  return [first = std::move(first), share, second = std::move(second)](std::size_t begin, std::span<float> logits,
                                                                       std::span<double> losses) {
    std::vector<float> others(logits.begin(), logits.end());
    std::vector<double> other_losses(losses.size());
    first(begin, logits, losses);
    second(begin, others, other_losses);
    const auto part = static_cast<float>(share), rest = static_cast<float>(1 - share);
    for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = part * logits[i] + rest * others[i];
    for (std::size_t i = 0; i < losses.size(); ++i) losses[i] = share * losses[i] + (1 - share) * other_losses[i];
  };
}

}  // namespace nibble
