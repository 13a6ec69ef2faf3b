// SPDX-License-Identifier: Apache-2.0
#include "train/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "nibble/error.h"
#include "train/orthogonal.h"

namespace nibble {
namespace {

constexpr std::size_t kGrain = 16384;  // numbers that a worker changes at a time

template <class... Cases>
struct Match : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Match(Cases...) -> Match<Cases...>;

void require(bool holds, const char* setting, std::string_view range, double value) {
  if (!holds) throw Error(ErrorKind::invalid_argument, fmt::format("{} is {}: {}", setting, range, value), setting);
}
void require_share(double value, const char* setting) {
  require(value >= 0 && value < 1, setting, "at least 0 and less than 1", value);
}
void require_rate(double rate, double weight_decay) {
  require(rate > 0 && std::isfinite(rate), "rate", "a positive number", rate);
  require(weight_decay >= 0 && std::isfinite(weight_decay), "weight decay", "no negative number", weight_decay);
}

void judge(const OptimizerSettings& settings, std::span<const Parameter> parameters) {
  std::visit(Match{[](const SgdSettings& sgd) {
                     require_rate(sgd.rate, sgd.weight_decay);
                     require_share(sgd.momentum, "momentum");
                   },
                   [](const AdamWSettings& adam) {
                     require_rate(adam.rate, adam.weight_decay);
                     require_share(adam.beta1, "beta1");
                     require_share(adam.beta2, "beta2");
                     require(adam.epsilon > 0, "epsilon", "a positive number", adam.epsilon);
                   },
                   [&](const MuonSettings& muon) {
                     require_rate(muon.rate, muon.weight_decay);
                     require_share(muon.momentum, "momentum");
                     for (const Parameter& parameter : parameters)
                       if (parameter.rows == 1)
                         throw Error(ErrorKind::invalid_argument,
                                     "muon takes matrices, not vectors: " + parameter.name);
                   },
                   [](const SignSettings& sign) { require_rate(sign.rate, 0); }},
             settings);
}

void take_step(float size, std::span<const float> gradient, float factor, std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float slope = factor * gradient[i];
    values[i] -= slope > 0 ? size : slope < 0 ? -size : 0.0F;
  }
}

struct SgdStep {
  float weight_decay, momentum, rate;
  bool is_first, is_nesterov;
};

void take_step(const SgdStep& by, std::span<const float> gradient, float factor, std::span<float> values,
               std::span<float> momentum) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    float slope = factor * gradient[i] + by.weight_decay * values[i];
    if (!momentum.empty()) {
      momentum[i] = by.is_first ? slope : by.momentum * momentum[i] + slope;
      slope = by.is_nesterov ? slope + by.momentum * momentum[i] : momentum[i];
    }
    values[i] -= by.rate * slope;
  }
}

// Calls body(begin, count) for pieces of a parameter.
template <class Body>
void in_pieces(std::size_t size, ThreadPool& pool, Body body) {
  pool.parallel_for(size, kGrain, [&](std::size_t begin, std::size_t end, std::size_t) { body(begin, end - begin); });
}

void take_step(const MuonSettings& muon, const Parameter& parameter, const StepScale& scale, std::span<float> momentum,
               Machine& machine) {
  const auto share = static_cast<float>(1 - muon.momentum), kept = static_cast<float>(muon.momentum);
  const auto factor = static_cast<float>(scale.gradient_factor);
  std::vector<float> direction(parameter.values.size());
  for (std::size_t i = 0; i < direction.size(); ++i) {
    const float slope = factor * parameter.gradient[i];
    momentum[i] = momentum[i] + share * (slope - momentum[i]);
    direction[i] = muon.is_nesterov ? slope + kept * (momentum[i] - slope) : momentum[i];
  }
  make_orthogonal(direction, parameter.rows, parameter.cols, muon.iterations, machine);
  const double rate = muon.rate * scale.rate_factor,
               size = 0.2 * std::sqrt(static_cast<double>(std::max(parameter.rows, parameter.cols)));
  const auto keep = static_cast<float>(1 - rate * muon.weight_decay), step = static_cast<float>(rate * size);
  for (std::size_t i = 0; i < direction.size(); ++i)
    parameter.values[i] = keep * parameter.values[i] - step * direction[i];
}

}  // namespace

Optimizer::Optimizer(const OptimizerSettings& settings, std::span<const Parameter> parameters) : settings_(settings) {
  judge(settings, parameters);
  const auto* const sgd = std::get_if<SgdSettings>(&settings);
  for (const Parameter& parameter : parameters) {
    if (std::holds_alternative<SignSettings>(settings)) continue;
    if (sgd == nullptr || sgd->momentum > 0) first_.emplace_back(parameter.values.size());
    if (std::holds_alternative<AdamWSettings>(settings)) second_.emplace_back(parameter.values.size());
  }
}

void Optimizer::step(std::span<const Parameter> parameters, const StepScale& scale, Machine& machine) {
  const bool is_first = steps_++ == 0;
  const auto factor = static_cast<float>(scale.gradient_factor);
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const Parameter& parameter = parameters[p];
    const std::span<float> values = parameter.values, first = first_.empty() ? std::span<float>() : first_[p];
    std::visit(Match{[&](const SgdSettings& sgd) {
                       const SgdStep by{static_cast<float>(sgd.weight_decay), static_cast<float>(sgd.momentum),
                                        static_cast<float>(sgd.rate * scale.rate_factor), is_first, sgd.is_nesterov};
                       in_pieces(values.size(), machine.pool, [&](std::size_t begin, std::size_t size) {
                         take_step(by, parameter.gradient.subspan(begin, size), factor, values.subspan(begin, size),
                                   first.empty() ? first : first.subspan(begin, size));
                       });
                     },
                     [&](const AdamWSettings& adam) {
                       const AdamWStep by = adamw_step(adam, scale.rate_factor, steps_);
                       in_pieces(values.size(), machine.pool, [&](std::size_t begin, std::size_t size) {
                         take_step(by, parameter.gradient.subspan(begin, size), factor, values.subspan(begin, size),
                                   first.subspan(begin, size), std::span(second_[p]).subspan(begin, size));
                       });
                     },
                     [&](const MuonSettings& muon) { take_step(muon, parameter, scale, first, machine); },
                     [&](const SignSettings& sign) {
                       in_pieces(values.size(), machine.pool, [&](std::size_t begin, std::size_t size) {
                         take_step(static_cast<float>(sign.rate * scale.rate_factor),
                                   parameter.gradient.subspan(begin, size), factor, values.subspan(begin, size));
                       });
                     }},
               settings_);
  }
}

std::vector<OptimizerMemory> Optimizer::memory(std::size_t index) {
  std::vector<OptimizerMemory> all;
  if (!first_.empty()) all.push_back({second_.empty() ? "momentum" : "mean", first_[index]});
  if (!second_.empty()) all.push_back({"mean_square", second_[index]});
  return all;
}

}  // namespace nibble
