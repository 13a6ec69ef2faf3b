// SPDX-License-Identifier: Apache-2.0
#include "train/net/recurrent_gradients.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr std::size_t kShards = 8;  // of samples, each with sums of its own

// A gate's function of a number that was cut to -clip .. clip before; clip 0: it was not.
struct Gate {
  double value = 0, slope = 0;
};

Gate pass(const GateFunction& function, double x, float clip) {
  using Kind = GateFunction::Kind;
  const auto most = static_cast<double>(clip);
  const bool is_cut = clip > 0 && std::abs(x) > most;
  if (is_cut) x = std::copysign(most, x);
  const double y = function(x);
  if (is_cut) return {y, 0};
  const auto a = static_cast<double>(function.a), b = static_cast<double>(function.b);
  switch (function.kind) {
    case Kind::sigmoid:
      return {y, y * (1 - y)};
    case Kind::tanh:
      return {y, 1 - y * y};
    case Kind::relu:
      return {y, x > 0 ? 1.0 : 0.0};
    case Kind::hard_sigmoid:
      return {y, y > 0 && y < 1 ? a : 0};
    case Kind::leaky_relu:
      return {y, x < 0 ? a : 1};
    case Kind::elu:
      return {y, x < 0 ? a * std::exp(x) : 1};
    case Kind::softsign:
      return {y, 1 / ((1 + std::abs(x)) * (1 + std::abs(x)))};
    case Kind::softplus:
      return {y, 1 / (1 + std::exp(-x))};
    case Kind::affine:
      return {y, a};
    case Kind::scaled_tanh: {
      const double t = std::tanh(b * x);
      return {y, a * b * (1 - t * t)};
    }
    case Kind::thresholded_relu:
      return {y, x > a ? 1.0 : 0.0};
  }
  return {y, 1};
}

// Weights of one direction, and sums of their gradients. A gate has a row in each; the bias has the input's rows and
// then the recurrent ones.
struct CellWeights {
  std::size_t gates = 0, units = 0, inputs = 0;  // gates: rows
  const float *w = nullptr, *r = nullptr, *b = nullptr, *peepholes = nullptr;
  double *by_w = nullptr, *by_r = nullptr, *by_b = nullptr;

  double of_input(std::size_t row, std::span<const float> x) const {
    return dot(w + row * inputs, x) + (b == nullptr ? 0.0 : static_cast<double>(b[row]));
  }
  double of_state(std::size_t row, std::span<const double> h) const {
    return dot(r + row * units, h) + (b == nullptr ? 0.0 : static_cast<double>(b[gates + row]));
  }
  double peephole(std::size_t gate, std::size_t unit) const {
    return peepholes == nullptr ? 0.0 : static_cast<double>(peepholes[gate * units + unit]);
  }
  void add_input(std::size_t row, double by, std::span<const float> x, std::span<double> by_x) const {
    for (std::size_t i = 0; i < inputs; ++i) {
      by_w[row * inputs + i] += by * static_cast<double>(x[i]);
      by_x[i] += by * static_cast<double>(w[row * inputs + i]);
    }
    if (b != nullptr) by_b[row] += by;
  }
  void add_state(std::size_t row, double by, std::span<const double> h, std::span<double> by_h) const {
    for (std::size_t i = 0; i < units; ++i) {
      by_r[row * units + i] += by * h[i];
      by_h[i] += by * static_cast<double>(r[row * units + i]);
    }
    if (b != nullptr) by_b[gates + row] += by;
  }
};

// What a step reads, and where its gradients go. by_hidden, by_cell: by what it made; then by what it began with.
struct StepBack {
  std::span<const float> x;
  std::span<const double> hidden, cell, made_cell;  // before the step; cell behind it
  std::span<double> by_x, by_hidden, by_cell;
};

void step_back(const Gru& op, const GateFunction* functions, const CellWeights& weights, const StepBack& s) {
  const std::size_t units = weights.units;
  std::vector<Gate> update(units), reset(units), candidate(units);
  std::vector<double> scaled(units), inner(units), by_candidate(units), by_scaled(units, 0.0), before(units, 0.0);
  for (std::size_t i = 0; i < units; ++i) {
    update[i] = pass(functions[0], weights.of_input(i, s.x) + weights.of_state(i, s.hidden), op.clip);
    reset[i] = pass(functions[0], weights.of_input(units + i, s.x) + weights.of_state(units + i, s.hidden), op.clip);
    scaled[i] = reset[i].value * s.hidden[i];
  }
  for (std::size_t i = 0; i < units; ++i) {
    const std::size_t row = 2 * units + i;
    inner[i] = weights.of_state(row, op.resets_behind ? s.hidden : std::span<const double>(scaled));
    const double sum = weights.of_input(row, s.x) + (op.resets_behind ? reset[i].value * inner[i] : inner[i]);
    candidate[i] = pass(functions[1], sum, op.clip);
    by_candidate[i] = s.by_hidden[i] * (1 - update[i].value) * candidate[i].slope;
    before[i] += s.by_hidden[i] * update[i].value;
    weights.add_input(row, by_candidate[i], s.x, s.by_x);
    if (op.resets_behind)
      weights.add_state(row, by_candidate[i] * reset[i].value, s.hidden, before);
    else
      weights.add_state(row, by_candidate[i], scaled, by_scaled);
  }
  // Other candidates add to what state a gate has seen: only behind all of them are its own slopes whole.
  std::vector<double> by_update(units), by_reset(units);
  for (std::size_t i = 0; i < units; ++i) {
    by_update[i] = s.by_hidden[i] * (s.hidden[i] - candidate[i].value) * update[i].slope;
    by_reset[i] = (op.resets_behind ? by_candidate[i] * inner[i] : by_scaled[i] * s.hidden[i]) * reset[i].slope;
    if (!op.resets_behind) before[i] += by_scaled[i] * reset[i].value;
  }
  for (std::size_t i = 0; i < units; ++i) {
    weights.add_input(i, by_update[i], s.x, s.by_x);
    weights.add_input(units + i, by_reset[i], s.x, s.by_x);
    weights.add_state(i, by_update[i], s.hidden, before);
    weights.add_state(units + i, by_reset[i], s.hidden, before);
  }
  std::ranges::copy(before, s.by_hidden.begin());
}

void step_back(const Lstm& op, const GateFunction* functions, const CellWeights& weights, const StepBack& s) {
  const std::size_t units = weights.units;
  std::vector<double> before(units, 0.0);
  for (std::size_t i = 0; i < units; ++i) {
    const auto sum = [&](std::size_t gate) {
      return weights.of_input(gate * units + i, s.x) + weights.of_state(gate * units + i, s.hidden);
    };
    const double was = s.cell[i], is = s.made_cell[i];
    const Gate in = pass(functions[0], sum(0) + weights.peephole(0, i) * was, op.clip),
               out = pass(functions[0], sum(1) + weights.peephole(1, i) * is, op.clip),
               candidate = pass(functions[1], sum(3), op.clip), shown = pass(functions[2], is, 0);
    const Gate forget =
        op.couples_gates ? Gate{1 - in.value, 0} : pass(functions[0], sum(2) + weights.peephole(2, i) * was, op.clip);
    const double by_out = s.by_hidden[i] * shown.value * out.slope;
    const double by_cell = s.by_cell[i] + s.by_hidden[i] * out.value * shown.slope + by_out * weights.peephole(1, i);
    const double by_forget = by_cell * was * forget.slope;
    const double by_in = by_cell * (candidate.value - (op.couples_gates ? was : 0.0)) * in.slope;
    const double by_candidate = by_cell * in.value * candidate.slope;
    s.by_cell[i] = by_cell * forget.value + by_in * weights.peephole(0, i) + by_forget * weights.peephole(2, i);
    for (const auto& [gate, by] : {std::pair{std::size_t{0}, by_in},
                                   {std::size_t{1}, by_out},
                                   {std::size_t{2}, by_forget},
                                   {std::size_t{3}, by_candidate}}) {
      weights.add_input(gate * units + i, by, s.x, s.by_x);
      weights.add_state(gate * units + i, by, s.hidden, before);
    }
  }
  std::ranges::copy(before, s.by_hidden.begin());
}

constexpr std::size_t gates_of(const Gru&) { return 3; }
constexpr std::size_t gates_of(const Lstm&) { return 4; }
const float* peepholes_of(const Gru&, const BatchNode&) { return nullptr; }
const float* peepholes_of(const Lstm& op, const BatchNode& node) {
  return op.has_peepholes ? node.weight(op.part + ".peepholes").data() : nullptr;
}

void add(std::span<float> to, std::size_t at, std::span<const double> numbers) {
  for (std::size_t i = 0; i < numbers.size() && !to.empty(); ++i) to[at + i] += static_cast<float>(numbers[i]);
}

// A cell's states are its numbers of a step, one behind the other: hidden, then cell.
template <class Op>
class WayBack {
 public:
  static constexpr std::size_t kStates = Op::kInputs - 1;

  WayBack(const Op& op, const BatchNode& node, std::span<const float> made, const BatchGradients& into)
      : op_(op),
        node_(node),
        made_(made),
        into_(into),
        steps_(node.shapes[0][0].extent),
        batch_(node.shapes[0][1].extent),
        inputs_(node.shapes[0][2].extent),
        units_(op.hidden),
        ways_(num_directions(op.directions)),
        gates_(gates_of(op) * units_) {}

  std::size_t w_size() const { return ways_ * gates_ * inputs_; }
  std::size_t r_size() const { return ways_ * gates_ * units_; }
  std::size_t b_size() const { return op_.has_bias ? 2 * ways_ * gates_ : 0; }

  // sums: of the weights' gradients, w, r and b one behind the other.
  void walk(std::size_t sample, std::span<double> sums) const {
    for (std::size_t way = 0; way < ways_; ++way)
      for (std::size_t b = 0; b < batch_; ++b) walk(sample, way, b, sums);
  }

 private:
  void walk(std::size_t sample, std::size_t way, std::size_t b, std::span<double> sums) const {
    const CellWeights weights = weights_of(way, sums);
    const std::span<const float> x = node_.inputs[0].of(sample, node_.samples);
    const std::size_t size = steps_ * ways_ * batch_ * kStates * units_;
    const std::span<const float> made = made_.subspan(sample * size, size),
                                 by_made = into_.output.subspan(sample * size, size);
    std::vector<double> states(kStates * units_), after(kStates * units_), by(kStates * units_, 0.0), by_x(inputs_);
    const bool is_reverse = op_.directions == RecurrentDirections::reverse || way == 1;
    const auto place = [&](std::size_t i) {  // of a step's states
      return (((is_reverse ? steps_ - 1 - i : i) * ways_ + way) * batch_ + b) * kStates * units_;
    };
    const std::size_t first = (way * batch_ + b) * units_;
    for (std::size_t i = steps_; i-- > 0;) {
      for (std::size_t k = 0; k < kStates * units_; ++k) {
        after[k] = static_cast<double>(made[place(i) + k]);
        by[k] += static_cast<double>(by_made[place(i) + k]);
        states[k] =
            static_cast<double>(i > 0 ? made[place(i - 1) + k]
                                      : node_.inputs[1 + k / units_].of(sample, node_.samples)[first + k % units_]);
      }
      std::ranges::fill(by_x, 0.0);
      const std::size_t at = ((is_reverse ? steps_ - 1 - i : i) * batch_ + b) * inputs_;
      const auto cell = [&](std::vector<double>& numbers) {
        return kStates == 2 ? std::span(numbers).subspan(units_) : std::span<double>{};
      };
      step_back(op_, &op_.functions[way * op_.functions.size() / ways_], weights,
                {x.subspan(at, inputs_), std::span(states).first(units_), cell(states), cell(after), by_x,
                 std::span(by).first(units_), cell(by)});
      add(of_sample(0, sample), at, by_x);
    }
    for (std::size_t k = 0; k < kStates; ++k)
      add(of_sample(1 + k, sample), first, std::span(by).subspan(k * units_, units_));
  }

  std::span<float> of_sample(std::size_t input, std::size_t sample) const {
    const std::span<float> all = into_.inputs[input];
    const std::size_t size = all.size() / node_.samples;
    return all.empty() ? all : all.subspan(sample * size, size);
  }

  CellWeights weights_of(std::size_t way, std::span<double> sums) const {
    const float* const peepholes = peepholes_of(op_, node_);
    return {.gates = gates_,
            .units = units_,
            .inputs = inputs_,
            .w = node_.weight(op_.part).data() + way * gates_ * inputs_,
            .r = node_.weight(op_.part + ".recurrent").data() + way * gates_ * units_,
            .b = op_.has_bias ? node_.weight(op_.part + ".bias").data() + way * 2 * gates_ : nullptr,
            .peepholes = peepholes == nullptr ? nullptr : peepholes + way * 3 * units_,
            .by_w = sums.data() + way * gates_ * inputs_,
            .by_r = sums.data() + w_size() + way * gates_ * units_,
            .by_b = sums.data() + w_size() + r_size() + way * 2 * gates_};
  }

  const Op& op_;
  const BatchNode& node_;
  std::span<const float> made_;
  const BatchGradients& into_;
  std::size_t steps_, batch_, inputs_, units_, ways_, gates_;
};

template <class Op>
void add_recurrent(const Op& op, const BatchNode& node, std::span<const float> made, const BatchGradients& into,
                   Machine& machine) {
  const WayBack<Op> back(op, node, made, into);
  const std::size_t size = back.w_size() + back.r_size() + back.b_size();
  std::vector<double> sums(kShards * size);
  machine.pool.parallel_for(kShards, 1, [&](std::size_t shard, std::size_t, std::size_t) {
    for (std::size_t sample = shard * node.samples / kShards; sample < (shard + 1) * node.samples / kShards; ++sample)
      back.walk(sample, std::span(sums).subspan(shard * size, size));
  });
  for (std::size_t shard = 0; shard < kShards; ++shard) {
    const std::span<const double> of_shard = std::span(sums).subspan(shard * size, size);
    add(into.weight(op.part), 0, of_shard.first(back.w_size()));
    add(into.weight(op.part + ".recurrent"), 0, of_shard.subspan(back.w_size(), back.r_size()));
    if (op.has_bias) add(into.weight(op.part + ".bias"), 0, of_shard.last(back.b_size()));
  }
}

}  // namespace

void add_gradients(const Gru& op, const BatchNode& node, std::span<const float> made, const BatchGradients& into,
                   Machine& machine) {
  add_recurrent(op, node, made, into, machine);
}

void add_gradients(const Lstm& op, const BatchNode& node, std::span<const float> made, const BatchGradients& into,
                   Machine& machine) {
  add_recurrent(op, node, made, into, machine);
}

}  // namespace nibble
