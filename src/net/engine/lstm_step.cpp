// SPDX-License-Identifier: Apache-2.0
#include "net/engine/lstm_step.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "net/engine/convolution_step.h"

namespace nibble::net_engine {
namespace {

// Rows times a matrix [outputs, inputs] that is packed once, + a bias.
class RowProduct {
 public:
  RowProduct(std::span<const float> weights, std::vector<float> bias, std::size_t outputs, std::size_t inputs)
      : inputs_(inputs), blocks_(output_blocks({.groups = 1, .inputs = inputs, .outputs = outputs}, inputs)) {
    for (const OutputBlocks& one : blocks_) {
      const std::size_t width = one.blocks * kOutputBlock;
      panels_.resize(one.panel + inputs * width);
      biases_.resize(one.bias + width);
      for (std::size_t j = 0; j < one.outputs; ++j) {
        for (std::size_t k = 0; k < inputs; ++k)
          panels_[one.panel + k * width + j] = weights[(one.first + j) * inputs + k];
        biases_[one.bias + j] = bias[one.first + j];
      }
    }
  }

  // y[i] = x[i] * weights + bias (+ added[i]), of rows that lie so far apart.
  struct Rows {
    const float* x;
    std::size_t x_stride;
    float* y;
    std::size_t y_stride;
    const float* added;  // y_stride apart; null: none
  };
  void multiply(const ConvolutionLoops& loops, const Rows& rows, std::size_t count) const {
    constexpr std::size_t kAtATime = 16;
    constexpr std::ptrdiff_t kBegin = 0;
    for (std::size_t first = 0; first < count; first += kAtATime) {
      const std::size_t n = std::min(kAtATime, count - first);
      const float *from[kAtATime], *more[kAtATime];
      float* to[kAtATime];
      for (std::size_t i = 0; i < n; ++i) {
        from[i] = rows.x + (first + i) * rows.x_stride;
        to[i] = rows.y + (first + i) * rows.y_stride;
        more[i] = rows.added == nullptr ? nullptr : rows.added + (first + i) * rows.y_stride;
      }
      constexpr float kNone = std::numeric_limits<float>::infinity();
      for (const OutputBlocks& one : blocks_)
        loops.convolve({.x = from,
                        .y = to,
                        .added = rows.added == nullptr ? nullptr : more,
                        .places = n,
                        .from = 0,
                        .to = static_cast<std::ptrdiff_t>(one.first),
                        .runs = {&kBegin, 1, inputs_},
                        .panel = panels_.data() + one.panel,
                        .bias = biases_.data() + one.bias,
                        .blocks = one.blocks,
                        .outputs = one.outputs,
                        .low = -kNone,
                        .high = kNone});
    }
  }

 private:
  std::size_t inputs_;
  std::vector<OutputBlocks> blocks_;
  std::vector<float> panels_, biases_;
};

class LstmStep final : public Step {
 public:
  LstmStep(const Lstm& op, const LstmViews& views, const LstmWeights& weights)
      : views_(views),
        directions_(op.directions),
        steps_(static_cast<std::size_t>(views.x.extents[0])),
        batch_(static_cast<std::size_t>(views.x.extents[1])),
        inputs_(static_cast<std::size_t>(views.x.extents[2])),
        units_(static_cast<std::size_t>(op.hidden)) {
    const std::size_t gates = 4 * units_, count = static_cast<std::size_t>(num_directions(op.directions));
    for (std::size_t d = 0; d < count; ++d) {
      std::vector<float> bias(gates);
      for (std::size_t i = 0; !weights.bias.empty() && i < gates; ++i)
        bias[i] = weights.bias[d * 2 * gates + i] + weights.bias[(2 * d + 1) * gates + i];
      of_inputs_.emplace_back(weights.inputs.subspan(d * gates * inputs_, gates * inputs_), std::move(bias), gates,
                              inputs_);
      of_memory_.emplace_back(weights.recurrent.subspan(d * gates * units_, gates * units_), std::vector<float>(gates),
                              gates, units_);
    }
  }

  std::string_view name() const override { return "lstm"; }

  void run(const Run& run) const override {
    const std::size_t gates = 4 * units_, state = batch_ * units_, count = of_inputs_.size();
    float* const all_gates = run.floats(views_.gates);
    float* const now = run.floats(views_.memory);  // the gates of a step, then the memory
    float *const hidden = now + batch_ * gates, *const cell = hidden + state, *const turned = cell + state;
    for (std::size_t d = 0; d < count; ++d) {
      of_inputs_[d].multiply(run.loops, {run.floats(views_.x), inputs_, all_gates, gates, nullptr}, steps_ * batch_);
      std::copy_n(run.floats(views_.first_hidden) + d * state, state, hidden);
      std::copy_n(run.floats(views_.first_cell) + d * state, state, cell);
      for (std::size_t i = 0; i < steps_; ++i) {
        const std::size_t t = directions_ == RecurrentDirections::reverse || d == 1 ? steps_ - 1 - i : i;
        of_memory_[d].multiply(run.loops, {hidden, units_, now, gates, all_gates + t * batch_ * gates}, batch_);
        for (std::size_t b = 0; b < batch_; ++b) {
          float* const h = hidden + b * units_;
          float* const c = cell + b * units_;
          remember(run.loops, now + b * gates, h, c, turned);
          float* const y = run.floats(views_.y) + ((t * count + d) * batch_ + b) * 2 * units_;
          std::copy_n(h, units_, y);
          std::copy_n(c, units_, y + units_);
        }
      }
    }
  }

 private:
  // Gates in the order i, o, f, c: c' = f c + i tanh(.), h' = o tanh(c').
  void remember(const ConvolutionLoops& loops, float* gates, float* h, float* c, float* turned) const {
    float *const in = gates, *const out = gates + units_, *const forget = out + units_, *const fresh = forget + units_;
    loops.apply(PointFunction::sigmoid, 0, 0, gates, 3 * units_, gates);
    loops.apply(PointFunction::tanh, 0, 0, fresh, units_, fresh);
    loops.combine(PairFunction::multiply, forget, 1, c, 1, units_, c);
    loops.combine(PairFunction::multiply, in, 1, fresh, 1, units_, fresh);
    loops.combine(PairFunction::add, c, 1, fresh, 1, units_, c);
    loops.apply(PointFunction::tanh, 0, 0, c, units_, turned);
    loops.combine(PairFunction::multiply, out, 1, turned, 1, units_, h);
  }

  LstmViews views_;
  RecurrentDirections directions_;
  std::size_t steps_, batch_, inputs_, units_;
  std::vector<RowProduct> of_inputs_, of_memory_;  // of each direction
};

}  // namespace

bool has_lstm_step(const Lstm& op) {
  if (op.has_peepholes || op.clip > 0 || op.couples_gates) return false;
  for (std::size_t i = 0; i < op.functions.size(); ++i)
    if (op.functions[i].kind != (i % 3 == 0 ? GateFunction::Kind::sigmoid : GateFunction::Kind::tanh)) return false;
  return true;
}

StepPointer lstm_step(const Lstm& op, const LstmViews& views, const LstmWeights& weights) {
  return std::make_unique<LstmStep>(op, views, weights);
}

}  // namespace nibble::net_engine
