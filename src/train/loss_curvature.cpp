// SPDX-License-Identifier: Apache-2.0
#include "train/loss_curvature.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/huge_pages.h"
#include "base/progress_meter.h"
#include "kernels/dense/dense.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// One side of a product, over a round: its sum, and what the round before gave.
struct Side {
  std::size_t width = 0;
  std::vector<float> sum, known;  // [width, width]; known: empty: the identity
  UnequalShares traces;           // what tokens bring to the sum
};

struct Sums {
  Side inputs, outputs;
  std::vector<float> token_weights;
};

// v^T M v for the rows of v: [tokens, width].
std::vector<float> lengths_in(const Side& side, std::span<const float> v, ProductArithmetic arithmetic,
                              Machine& machine) {
  const std::size_t n = side.width, tokens = v.size() / n;
  std::vector<float> turned, lengths(tokens);
  if (!side.known.empty()) {
    turned = large_vector(v.size());
    multiply({v.data(), n}, {side.known.data(), n}, {tokens, n, n}, {turned.data(), n}, arithmetic, machine);
  }
  const float* const other = turned.empty() ? v.data() : turned.data();
  machine.pool.parallel_for(tokens, 32, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) {
      double sum = 0;
      for (std::size_t i = t * n; i < (t + 1) * n; ++i)
        sum += static_cast<double>(v[i]) * static_cast<double>(other[i]);
      lengths[t] = static_cast<float>(std::max(sum, 0.0));  // of a sum of squares, but for its rounding
    }
  });
  return lengths;
}

// side.sum += sum over tokens of weight v v^T, its lower triangle.
void add_weighted(Side& side, std::span<const float> v, std::span<const float> weights, Machine& machine) {
  const std::size_t n = side.width;
  std::vector<float> weighed = large_vector(v.size());
  std::vector<double> traces(weights.size());
  machine.pool.parallel_for(weights.size(), 32, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) {
      const float root = std::sqrt(weights[t]);
      for (std::size_t i = t * n; i < (t + 1) * n; ++i) {
        weighed[i] = root * v[i];
        traces[t] += static_cast<double>(weighed[i]) * static_cast<double>(weighed[i]);
      }
    }
  });
  for (const double trace : traces) side.traces.add(trace);
  if (side.sum.empty()) side.sum = large_vector(n * n);
  syrk(weighed.data(), weights.size(), n, side.sum.data(), machine);
}

// The round's sum becomes what is known: whole, with 1 for the mean of its diagonal, the identity in the place of what
// cannot be believed of it.
void end_round(Side& side, ThreadPool& pool) {
  const std::size_t n = side.width;
  mirror_lower(side.sum.data(), n, pool);
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) trace += static_cast<double>(side.sum[i * n + i]);
  const double trust = trace > 0 ? side.traces.trust(n) : 0;
  const auto factor = static_cast<float>(trace > 0 ? trust * static_cast<double>(n) / trace : 0);
  pool.parallel_for(n, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row) {
      for (std::size_t i = row * n; i < (row + 1) * n; ++i) side.sum[i] *= factor;
      side.sum[row * n + row] += static_cast<float>(1 - trust);
    }
  });
  side.traces = {};
  side.known = std::move(side.sum);
  side.sum = {};
}

class CurvatureSearch {
 public:
  CurvatureSearch(const SourceModel& model, const CalibrationTokens& tokens, const CurvatureOptions& options,
                  Machine& machine)
      : tokens_(tokens), options_(options), machine_(machine), weights_(model, machine.pool) {}

  LossCurvature run(const Network& network) {
    ProgressMeter meter(options_.progress, "gradients", tokens_.windows() * options_.rounds);
    const auto watch = meter.watch(machine_.pool);
    meter.report(0);
    Tape tape(network, weights_,
              {.arithmetic = options_.arithmetic,
               .watch = [this](std::int64_t layer, const Linear& op, std::span<const float> x,
                               std::span<const float> dy) { see(layer, op, x, dy); },
               .watch_stream = [this](std::int64_t layer, std::span<const float> dy) { see_stream(layer, dy); },
               .first_watched = options_.first_layer},
              machine_);
    for (round_ = 0; round_ < options_.rounds; ++round_) {
      pass(tape, meter);
      for (auto& [place, sums] : found_) {
        if (!is_last_round()) end_round(sums.inputs, machine_.pool);
        end_round(sums.outputs, machine_.pool);
      }
    }
    LossCurvature::ByPlace by_place;
    for (auto& [place, sums] : found_) {
      normalize_weights(sums.token_weights);
      temper_weights(sums.token_weights, sums.inputs.width);
      by_place.emplace(place, LinearCurvature{std::move(sums.token_weights), std::move(sums.outputs.known)});
    }
    LossCurvature::ByLayer streams;
    for (auto& [layer, side] : streams_) {
      end_round(side, machine_.pool);
      streams.emplace(layer, std::move(side.known));
    }
    return {std::move(by_place), std::move(streams)};
  }

 private:
  bool is_last_round() const { return round_ + 1 == options_.rounds; }

  void pass(Tape& tape, ProgressMeter& meter) {
    const std::size_t length = static_cast<std::size_t>(tokens_.length);
    for (std::size_t window = 0; window < tokens_.windows(); window += options_.windows_at_a_time) {
      const std::size_t windows = std::min(options_.windows_at_a_time, tokens_.windows() - window);
      first_ = window * length;
      count_ = windows * length;
      const std::span<const std::int32_t> ids = std::span(tokens_.ids).subspan(first_, count_);
      const std::vector<std::int32_t> targets = following_tokens(ids, length);
      // Other tokens are drawn in every round.
      const LossFunction loss =
          options_.targets == TokenTargets::text
              ? next_token_loss(targets, machine_)
              : own_token_loss({.seed = 1 + round_, .first_token = first_, .tokens = count_}, machine_);
      if (const double mean = tape.run(ids, {windows, length}, loss, Tape::Walk::there_and_back); !std::isfinite(mean))
        throw Error(ErrorKind::corrupt,
                    fmt::format("the loss of window {} of the calibration text is not finite; repair the model: {}",
                                window, mean));
      meter.report(round_ * tokens_.windows() + window + windows);
    }
  }

  void see(std::int64_t layer, const Linear& op, std::span<const float> x, std::span<const float> dy) {
    if (op.role != TensorRole::linear || layer >= options_.end_layer) return;
    Sums& sums = found_[{layer, op.part}];
    sums.inputs.width = x.size() / count_;
    sums.outputs.width = dy.size() / count_;
    sums.token_weights.resize(tokens_.ids.size());
    // Losses are means of the windows at hand: of each token by itself.
    std::vector<float> g(dy.begin(), dy.end());
    for (float& slope : g) slope *= static_cast<float>(count_);
    const std::vector<float> of_inputs = lengths_in(sums.inputs, x, options_.arithmetic, machine_),
                             of_outputs = lengths_in(sums.outputs, g, options_.arithmetic, machine_);
    add_weighted(sums.outputs, g, of_inputs, machine_);
    if (is_last_round())
      std::ranges::copy(of_outputs, sums.token_weights.begin() + static_cast<std::ptrdiff_t>(first_));
    else
      add_weighted(sums.inputs, x, of_outputs, machine_);
  }

  void see_stream(std::int64_t layer, std::span<const float> dy) {
    if (layer >= options_.end_layer || !is_last_round()) return;
    Side& side = streams_[layer];
    side.width = dy.size() / count_;
    // Of each token by itself, as above; the mean is taken in the end.
    add_weighted(side, dy, std::vector<float>(count_, static_cast<float>(count_) * static_cast<float>(count_)),
                 machine_);
  }

  const CalibrationTokens& tokens_;
  CurvatureOptions options_;
  Machine& machine_;
  NetworkWeights weights_;
  std::map<std::pair<std::int64_t, std::string>, Sums> found_;
  std::map<std::int64_t, Side> streams_;
  std::size_t round_ = 0, first_ = 0, count_ = 0;  // tokens of the windows at hand
};

}  // namespace

const LinearCurvature* LossCurvature::find(std::int64_t layer, std::string_view part) const {
  const auto found = by_place_.find({layer, std::string(part)});
  return found == by_place_.end() ? nullptr : &found->second;
}

std::span<const float> LossCurvature::stream_moment(std::int64_t layer) const {
  const auto found = streams_.find(layer);
  return found == streams_.end() ? std::span<const float>() : found->second;
}

LossCurvature find_loss_curvature(const SourceModel& model, const CalibrationTokens& tokens,
                                  const CurvatureOptions& options, Machine& machine) {
  return CurvatureSearch(model, tokens, options, machine).run(model.parts().network());
}

std::uint64_t curvature_bytes(const SourceModel& model, const CalibrationTokens& tokens,
                              const CurvatureOptions& options, Machine& machine) {
  std::uint64_t numbers = 0, most = 0;
  for (const ModelTensor& part : model.parts().all()) {
    const std::uint64_t count = checked_elements(part.shape, part.hf_name);
    numbers += count;
    if (part.role != TensorRole::linear || part.experts != 0 || part.layer < options.first_layer ||
        part.layer >= options.end_layer || part.shape.size() != 2)
      continue;
    const std::uint64_t rows = part.shape[0], cols = part.shape[1];
    numbers += 2 * (rows * rows + (options.rounds > 1 ? cols * cols : 0)) + tokens.ids.size();
    most = std::max(most, std::max(rows, cols));
  }
  const std::uint64_t hidden = model.config().hidden;
  numbers += static_cast<std::uint64_t>(options.end_layer - options.first_layer) * 2 * hidden * hidden;  // of streams
  most = std::max(most, hidden);
  const std::uint64_t at_a_time = options.windows_at_a_time * tokens.length;
  numbers += 3 * most * at_a_time;  // of a Linear's tokens: gradients, what they are turned into, and weighed
  NetworkWeights none(std::vector<NetworkWeight>{});
  return numbers * sizeof(float) + Tape(model.parts().network(), none, {.arithmetic = options.arithmetic}, machine)
                                       .bytes({options.windows_at_a_time, static_cast<std::size_t>(tokens.length)});
}

}  // namespace nibble
