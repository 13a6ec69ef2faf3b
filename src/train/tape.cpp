// SPDX-License-Identifier: Apache-2.0
#include "train/tape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "format/format.h"
#include "kernels/select.h"

namespace nibble {

ProductArithmetic fastest_products(Isa isa) {
  return multiplies_bf16(isa) && kernel_table(isa).bf16_is_fast ? ProductArithmetic::bf16 : ProductArithmetic::f32;
}

Tape::Tape(const Network& network, NetworkWeights& weights, const TapeOptions& options, Machine& machine)
    : network_(network),
      weights_(weights),
      options_(options),
      room_{.machine = machine, .arithmetic = options.arithmetic, .kv = options.kv},
      borders_(static_cast<std::size_t>(network.num_layers()) + 1) {
  for (const KeyValueState& state : network.states()) require_rotation(state.head_dim, options.kv);
}

double Tape::run(std::span<const std::int32_t> ids, const SequenceBatch& batch, const LossFunction& loss, Walk walk) {
  walk_there(ids, batch);
  last_loss_ = walk_end(batch, loss, walk);
  if (walk == Walk::there_and_back && std::isfinite(last_loss_)) walk_back(ids, batch);
  return last_loss_;
}

// --- forwards -------------------------------------------------------------------------------------------------------

// Of the drawings before a layer the last one that passes the name on.
Tape::CrossingKey Tape::key_of(const Crossing& received, std::int64_t layer) const {
  const std::string name = Network::name_of(received, layer);
  for (std::int64_t before = layer - 1; before >= Network::kBegin; --before)
    for (const Crossing& passed : drawing(before).graph.passed)
      if (Network::name_of(passed, before) == name) return {name, before};
  return {name, Network::kBegin};
}

void Tape::give_all(GraphRun& run, std::int64_t layer, std::span<const std::int32_t> ids) {
  const Graph& graph = drawing(layer).graph;
  run.give_ids(ids);
  if (layer == Network::kBegin) return;
  run.give(graph.inputs.front(), border(layer - 1), needs_gradient_[static_cast<std::size_t>(layer)]);
  for (const Crossing& crossing : graph.received) {
    const Crossed& crossed = crossed_.at(key_of(crossing, layer));
    run.give(crossing.value, crossed.numbers, crossed.needs_gradient);
  }
}

void Tape::walk_there(std::span<const std::int32_t> ids, const SequenceBatch& batch) {
  if (batch != shape_) room_.buffers.clear();  // those of another shape fit nothing any more
  shape_ = batch;
  needs_gradient_.clear();
  crossed_.clear();
  bool is_trained = false;  // something up to this border, or gradients are asked for
  for (std::int64_t layer = Network::kBegin; layer < network_.num_layers(); ++layer) {
    const Graph& graph = drawing(layer).graph;
    is_trained = is_trained || (options_.watch && layer + 1 >= options_.first_watched);
    for (const WeightUse& use : graph.weights()) {
      const NetworkWeight* const weight = weights_.find(layer, use.part);
      is_trained = is_trained || (weight != nullptr && weight->is_trained());
    }
    GraphRun run(graph, layer, weights_, batch, room_);
    give_all(run, layer, ids);
    run.forward(GraphRun::Keep::outputs);
    const std::span<const float> stream = run.value(graph.outputs.front());
    border(layer).assign(stream.begin(), stream.end());
    needs_gradient_.push_back(is_trained);
    for (const Crossing& crossing : graph.passed) {
      const std::span<const float> numbers = run.value(crossing.value);
      crossed_[{Network::name_of(crossing, layer), layer}] = {
          .numbers = std::vector<float>(numbers.begin(), numbers.end()), .gradient = {}, .needs_gradient = is_trained};
    }
  }
}

std::size_t Tape::tokens_at_a_time(const SequenceBatch& batch) const {
  const Graph& end = network_.end().graph;
  const std::size_t vocabulary = end.width(end.outputs.front());
  return std::clamp<std::size_t>(options_.most_logits / vocabulary, 16, std::max<std::size_t>(16, batch.tokens()));
}

// What ends a network looks at every token by itself.
double Tape::walk_end(const SequenceBatch& batch, const LossFunction& loss, Walk walk) {
  const Graph& end = network_.end().graph;
  const std::size_t width = end.width(end.inputs.front()), step = tokens_at_a_time(batch);
  const std::vector<float>& stream = border(network_.num_layers() - 1);
  const bool needs_stream = needs_gradient_.back();
  stream_gradient_.resize(needs_stream && walk == Walk::there_and_back ? stream.size() : 0);
  std::vector<double> losses(batch.tokens());
  for (std::size_t first = 0; first < batch.tokens(); first += step) {
    const std::size_t tokens = std::min(step, batch.tokens() - first);
    GraphRun run(end, Network::kBegin, weights_, {1, tokens}, room_);
    run.give(end.inputs.front(), std::span(stream).subspan(first * width, tokens * width), needs_stream);
    run.forward(walk == Walk::there ? GraphRun::Keep::outputs : GraphRun::Keep::all);
    const std::span<float> logits = run.take_value(end.outputs.front());
    loss(first, logits, std::span(losses).subspan(first, tokens));
    if (walk == Walk::there) continue;
    run.add_gradient(end.outputs.front(), logits);
    run.backward();
    if (needs_stream)
      std::ranges::copy(run.gradient(end.inputs.front()),
                        stream_gradient_.begin() + static_cast<std::ptrdiff_t>(first * width));
  }
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

void Tape::show_logits(std::span<const std::int32_t> ids, const SequenceBatch& batch,
                       const std::function<void(std::size_t first, std::span<const float> logits)>& show) {
  walk_there(ids, batch);
  walk_end(
      batch, [&](std::size_t first, std::span<float> logits, std::span<double>) { show(first, logits); }, Walk::there);
}

void Tape::listen(std::span<const std::int32_t> ids, const SequenceBatch& batch) { walk_there(ids, batch); }

void Tape::read_logits(std::size_t first, std::span<float> logits) {
  const Graph& end = network_.end().graph;
  const std::size_t width = end.width(end.inputs.front());
  const std::size_t tokens = logits.size() / end.width(end.outputs.front());
  GraphRun run(end, Network::kBegin, weights_, {1, tokens}, room_);
  run.give(end.inputs.front(),
           std::span<const float>(border(network_.num_layers() - 1)).subspan(first * width, tokens * width), false);
  run.forward(GraphRun::Keep::outputs);
  std::ranges::copy(run.value(end.outputs.front()), logits.begin());
}

// --- backwards ------------------------------------------------------------------------------------------------------

void Tape::walk_back(std::span<const std::int32_t> ids, const SequenceBatch& batch) {
  for (std::int64_t layer = network_.num_layers() - 1; layer >= Network::kBegin; --layer) {
    if (!needs_gradient_[static_cast<std::size_t>(layer + 1)]) return;
    if (options_.watch_stream && layer >= options_.first_watched) options_.watch_stream(layer, stream_gradient_);
    const Graph& graph = drawing(layer).graph;
    GraphRun run(graph, layer, weights_, batch, room_);
    if (options_.watch && layer >= options_.first_watched)
      run.watch([this, layer](const Linear& op, std::span<const float> x, std::span<const float> dy) {
        options_.watch(layer, op, x, dy);
      });
    give_all(run, layer, ids);
    run.forward(GraphRun::Keep::inputs_of_gradients);
    run.add_gradient(graph.outputs.front(), stream_gradient_);
    for (const Crossing& crossing : graph.passed) {
      Crossed& crossed = crossed_.at({Network::name_of(crossing, layer), layer});
      if (!crossed.gradient.empty()) run.add_gradient(crossing.value, crossed.gradient);
      crossed = {};
    }
    run.backward();
    if (layer == Network::kBegin) return;
    const std::span<const float> by_stream = run.gradient(graph.inputs.front());
    stream_gradient_.assign(by_stream.begin(), by_stream.end());
    for (const Crossing& crossing : graph.received) {
      const std::span<const float> found = run.gradient(crossing.value);
      std::vector<float>& sum = crossed_.at(key_of(crossing, layer)).gradient;
      if (sum.empty()) sum.resize(found.size());
      for (std::size_t i = 0; i < found.size(); ++i) sum[i] += found[i];
    }
  }
}

// --- what is told ---------------------------------------------------------------------------------------------------

std::optional<std::int64_t> Tape::first_unsound() const {
  for (std::size_t i = 0; i < borders_.size(); ++i)
    if (first_not_finite(borders_[i])) return static_cast<std::int64_t>(i) - 1;
  if (!std::isfinite(last_loss_)) return network_.num_layers();
  return std::nullopt;
}

std::string Tape::unsound_place() const {
  const std::optional<std::int64_t> layer = first_unsound();
  if (!layer) return {};
  if (*layer == Network::kBegin) return "the embedding";
  return *layer >= num_layers() ? "the logits" : fmt::format("the output of layer {}", *layer);
}

namespace {

// Of a token, all values and their gradients. Of experts those that a token is sent to.
std::uint64_t numbers_of_values(const DrawnGraph& drawing) {
  std::uint64_t total = 0;
  for (const Dimensions& value : drawing.graph.values) {
    std::uint64_t numbers = numbers_per_token(value);
    if (value.size() == 3)
      for (const Site& site : drawing.sites)
        if (site.experts != 0) numbers = width_of(value) * site.used;
    total += numbers;
  }
  return 2 * total;
}

}  // namespace

std::uint64_t layer_bytes(const DrawnGraph& drawing, const SequenceBatch& batch) {
  return sizeof(float) * batch.tokens() * numbers_of_values(drawing);
}

std::uint64_t Tape::bytes(const SequenceBatch& batch) const {
  std::uint64_t layer = numbers_of_values(network_.begin()), kept = 0;
  for (std::int64_t i = 0; i < network_.num_layers(); ++i) {
    layer = std::max(layer, numbers_of_values(network_.layer(i)));
    for (const Crossing& crossing : network_.layer(i).graph.passed)
      kept += 2 * network_.layer(i).graph.width(crossing.value);
  }
  for (const Crossing& crossing : network_.begin().graph.passed)
    kept += 2 * network_.begin().graph.width(crossing.value);
  const Graph& end = network_.end().graph;
  kept += borders_.size() * end.width(end.inputs.front());
  const std::uint64_t logits = 2 * tokens_at_a_time(batch) * end.width(end.outputs.front());
  return sizeof(float) * (batch.tokens() * (layer + kept) + logits);
}

}  // namespace nibble
