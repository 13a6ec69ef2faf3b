// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/adaptive_rounding.h"

#include <algorithm>
#include <cmath>

#include "kernels/dense/dense.h"
#include "kernels/training/adam_step.h"

namespace nibble {
namespace {

constexpr float kLowest = -0.1F, kHighest = 1.1F;  // gamma and zeta: what the sigmoid is stretched to
constexpr float kEdge = 0.01F;                     // h begins so far at least from where it is cut and has no slope
constexpr float kChosen = 0.8F;       // of the way from weights to the codes that it begins from, on which it starts
constexpr std::size_t kGrain = 4096;  // weights that a worker changes at a time

float stretched(float variable) { return (kHighest - kLowest) / (1 + std::exp(-variable)) + kLowest; }

template <class Body>
void in_pieces(std::size_t count, ThreadPool& pool, Body body) {
  pool.parallel_for(count, kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) body(i);
  });
}

// made [count, rows] = bias + x W^T, turned [cols, rows] being W^T.
void multiply(const RowsToRound& rows, std::size_t first, std::size_t count, std::span<const float> turned,
              std::vector<float>& made, Machine& machine) {
  made.assign(count * rows.rows, 0.0F);
  for (std::size_t token = 0; token < count && !rows.bias.empty(); ++token)
    std::ranges::copy(rows.bias, made.begin() + static_cast<std::ptrdiff_t>(token * rows.rows));
  gemm(rows.x.data() + first * rows.cols, turned.data(), count, rows.rows, rows.cols, made.data(), machine);
}

}  // namespace

std::vector<double> row_errors(const RowsToRound& rows, std::span<const float> weights, Machine& machine) {
  std::vector<float> turned(weights.size()), made;
  for (std::size_t row = 0; row < rows.rows; ++row)
    for (std::size_t col = 0; col < rows.cols; ++col) turned[col * rows.rows + row] = weights[row * rows.cols + col];
  multiply(rows, 0, rows.tokens(), turned, made, machine);
  std::vector<double> errors(rows.rows, 0.0);
  for (std::size_t i = 0; i < made.size(); ++i) {
    const double error = static_cast<double>(std::clamp(made[i], rows.least, rows.most) - rows.y[i]);
    errors[i % rows.rows] += error * error;
  }
  for (double& error : errors) error /= static_cast<double>(std::max<std::size_t>(1, rows.tokens()));
  return errors;
}

AdaptiveRounding::AdaptiveRounding(const RowsToRound& rows, const AdaptiveRoundingOptions& options, Machine& machine)
    : rows_(rows),
      options_(options),
      machine_(machine),
      floors_(rows.weights.size()),
      variables_(floors_.size()),
      slopes_(floors_.size()),
      shares_(rows.rows),
      turned_(floors_.size()),
      by_weight_(floors_.size()) {
  std::vector<float> begun(floors_.size());
  const auto low = static_cast<float>(rows.low), high = static_cast<float>(rows.high);
  for (std::size_t i = 0; i < floors_.size(); ++i) {
    const float scale = rows.scales[i / rows.cols], place = rows.weights[i] / scale;
    const float code =
        rows.chosen.empty() ? std::clamp(std::nearbyint(place), low, high) : static_cast<float>(rows.chosen[i]);
    floors_[i] = std::clamp(std::floor(place), low, high - 1);
    float above = std::clamp(place - floors_[i], 0.0F, 1.0F);
    if (!rows.chosen.empty()) above += kChosen * (std::clamp(code - floors_[i], 0.0F, 1.0F) - above);
    above = std::clamp(above, kEdge, 1 - kEdge);
    variables_[i] = -std::log((kHighest - kLowest) / (above - kLowest) - 1);
    begun[i] = scale * code;
  }
  const std::vector<double> errors = row_errors(rows, begun, machine);
  for (std::size_t row = 0; row < rows.rows; ++row)
    shares_[row] = errors[row] > 0 ? static_cast<float>(1 / errors[row]) : 0;
}

float AdaptiveRounding::softly(std::size_t i) const { return std::clamp(stretched(variables_[i]), 0.0F, 1.0F); }

// What the rows make of so many tokens while they learn.
void AdaptiveRounding::make(std::size_t first, std::size_t count) {
  const std::size_t cols = rows_.cols;
  in_pieces(variables_.size(), machine_.pool, [&](std::size_t i) {
    turned_[i % cols * rows_.rows + i / cols] = rows_.scales[i / cols] * (floors_[i] + softly(i));
  });
  multiply(rows_, first, count, turned_, made_, machine_);
}

double AdaptiveRounding::loss(std::size_t first, std::size_t count, double beta) {
  make(first, count);
  double loss = 0;
  for (std::size_t i = 0; i < made_.size(); ++i) {
    const auto error =
        static_cast<double>(std::clamp(made_[i], rows_.least, rows_.most) - rows_.y[first * rows_.rows + i]);
    loss += error * error * static_cast<double>(shares_[i % rows_.rows]) / static_cast<double>(count);
  }
  for (std::size_t i = 0; i < variables_.size() && beta > 0; ++i)
    if (shares_[i / rows_.cols] > 0)
      loss += kRoundingWeight / static_cast<double>(rows_.cols) *
              (1 - std::pow(std::abs(2 * static_cast<double>(softly(i)) - 1), beta));
  return loss;
}

void AdaptiveRounding::find_slopes(std::size_t first, std::size_t count, double beta) {
  const std::size_t num_rows = rows_.rows, cols = rows_.cols;
  make(first, count);
  const float share_of_token = 1 / static_cast<float>(count);
  in_pieces(made_.size(), machine_.pool, [&](std::size_t i) {
    const float made = made_[i], error = std::clamp(made, rows_.least, rows_.most) - rows_.y[first * num_rows + i];
    made_[i] = made > rows_.least && made < rows_.most ? 2 * error * shares_[i % num_rows] * share_of_token : 0;
  });
  std::ranges::fill(by_weight_, 0.0F);
  add_outer_products(made_.data(), rows_.x.data() + first * cols, count, num_rows, cols, by_weight_.data(), machine_);
  const auto power = static_cast<float>(beta);
  const auto weight = static_cast<float>(kRoundingWeight / static_cast<double>(cols));
  in_pieces(variables_.size(), machine_.pool, [&](std::size_t i) {
    const float h = stretched(variables_[i]), sigmoid = (h - kLowest) / (kHighest - kLowest);
    const bool moves = h > 0 && h < 1 && shares_[i / cols] > 0;
    float by_h = by_weight_[i] * rows_.scales[i / cols];
    if (power > 0 && moves) {
      const float side = 2 * h - 1;
      by_h -= weight * 2 * power * std::copysign(std::pow(std::abs(side), power - 1), side);
    }
    slopes_[i] = moves ? by_h * (kHighest - kLowest) * sigmoid * (1 - sigmoid) : 0;
  });
}

void AdaptiveRounding::learn() {
  const std::size_t tokens = rows_.tokens(), batch = std::min<std::size_t>(tokens, options_.batch);
  if (batch == 0) return;
  std::vector<float> mean(variables_.size()), square(variables_.size());
  const AdamWSettings adam{.rate = options_.rate, .weight_decay = 0};
  const double warm = kWarmUp * static_cast<double>(options_.steps);
  std::size_t first = 0;
  for (std::uint64_t step = 0; step < options_.steps; ++step, first += batch) {
    if (first + batch > tokens) first = 0;
    const auto at = static_cast<double>(step);
    double beta = 0;
    if (at >= warm)
      beta = kFirstPower + (kLastPower - kFirstPower) * (at - warm) / (static_cast<double>(options_.steps) - warm);
    find_slopes(first, batch, beta);
    const AdamWStep by = adamw_step(adam, 1, step + 1);
    machine_.pool.parallel_for(variables_.size(), kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
      const std::size_t count = end - begin;
      take_step(by, std::span(slopes_).subspan(begin, count), 1, std::span(variables_).subspan(begin, count),
                std::span(mean).subspan(begin, count), std::span(square).subspan(begin, count));
    });
  }
}

std::vector<std::int8_t> AdaptiveRounding::codes() const {
  std::vector<std::int8_t> codes(variables_.size());
  for (std::size_t i = 0; i < codes.size(); ++i)
    codes[i] = static_cast<std::int8_t>(floors_[i] + (variables_[i] > 0 ? 1 : 0));
  return codes;
}

}  // namespace nibble
