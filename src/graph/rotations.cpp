// SPDX-License-Identifier: Apache-2.0
#include "graph/rotations.h"

#include <fmt/format.h>

#include <algorithm>

namespace nibble {
namespace {

std::string_view name_of(const Node& node) {
  return std::visit([](const auto& op) -> std::string_view { return op.kName; }, node.operation);
}

bool is_output(const Graph& graph, ValueId value) {
  return std::ranges::find(graph.outputs, value) != graph.outputs.end();
}

// Goes through a drawing once and says of each value whether it is the stream, what a norm makes of it, or neither.
class StreamWalk {
 public:
  explicit StreamWalk(const Graph& graph) : graph_(graph), kinds_(graph.values.size()), norms_(graph.values.size()) {
    if (!graph.inputs.empty()) kinds_[graph.inputs.front()] = Kind::stream;
  }

  StreamRotation run() {
    for (const Node& node : graph_.nodes) {
      if (!found_.obstacle.empty()) return std::move(found_);
      meet(node);
    }
    for (const Crossing& passed : graph_.passed)
      if (kinds_[passed.value] != Kind::other) refuse("the stream crosses to later layers as '{}'", passed.name);
    if (!ends_ && kinds_[graph_.outputs.front()] != Kind::stream) refuse("what it gives is no sum of the stream");
    return std::move(found_);
  }

 private:
  enum class Kind : std::uint8_t { other, stream, normed };

  template <class... Values>
  void refuse(fmt::format_string<Values...> text, Values&&... values) {
    if (found_.obstacle.empty()) found_.obstacle = fmt::format(text, std::forward<Values>(values)...);
  }

  bool reads(const Node& node, Kind kind) const {
    return std::ranges::any_of(node.inputs, [&](ValueId input) { return kinds_[input] == kind; });
  }

  void meet(const Node& node) {
    if (const auto* const table = std::get_if<Embedding>(&node.operation); table != nullptr && graph_.inputs.empty()) {
      found_.tables.push_back(table->part);
      kinds_[node.output] = Kind::stream;
    } else if (reads(node, Kind::stream)) {
      meet_stream(node);
    } else if (reads(node, Kind::normed)) {
      meet_normed(node);
    }
  }

  void meet_stream(const Node& node) {
    if (const auto* const norm = std::get_if<RmsNorm>(&node.operation)) {
      if (norm->group != 0 && norm->group != graph_.width(node.inputs[0]))
        return refuse("the norm '{}' looks at some of the stream's channels at a time", norm->part);
      kinds_[node.output] = Kind::normed;
      norms_[node.output] = norm->part;
      found_.readers.push_back({norm->part, {}});
    } else if (std::holds_alternative<Add>(node.operation)) {
      for (const ValueId input : node.inputs)
        if (kinds_[input] != Kind::stream) add_writers(input, 1);
      kinds_[node.output] = Kind::stream;
    } else if (std::holds_alternative<Scale>(node.operation)) {
      kinds_[node.output] = Kind::stream;
    } else {
      refuse("the operation '{}' reads the stream", name_of(node));
    }
  }

  void meet_normed(const Node& node) {
    const ValueId input = node.inputs[0];
    const bool is_linear =
        std::holds_alternative<Linear>(node.operation) || std::holds_alternative<ExpertLinear>(node.operation);
    if (!is_linear || kinds_[input] != Kind::normed)
      return refuse("the operation '{}' reads what a norm makes of the stream", name_of(node));
    if (const auto* const linear = std::get_if<Linear>(&node.operation))
      ends_ = ends_ || linear->role == TensorRole::head || linear->role == TensorRole::embedding;
    const auto reader = std::ranges::find(found_.readers, norms_[input], &StreamRotation::Reader::norm);
    for (const WeightUse& use : graph_.weights(node))
      if (use.role != TensorRole::bias) reader->parts.push_back(use.part);
  }

  // The weights that make a value, where it reaches the stream by ways on which channels stay apart from nothing.
  void add_writers(ValueId value, std::size_t readers) {
    const Node* const node = graph_.producer(value);
    if (node == nullptr) return refuse("a value of an earlier layer is added to the stream");
    if (kinds_[value] == Kind::normed)
      return refuse("what the norm '{}' makes of the stream is added to it", norms_[value]);
    if (graph_.consumers(value).size() != readers || is_output(graph_, value))
      return refuse("what the operation '{}' adds to the stream is read elsewhere, too", name_of(*node));
    if (std::holds_alternative<Linear>(node->operation) || std::holds_alternative<ExpertLinear>(node->operation)) {
      for (const WeightUse& use : graph_.weights(*node)) found_.writers.push_back(use.part);
    } else if (std::holds_alternative<MixExperts>(node->operation) || std::holds_alternative<Scale>(node->operation) ||
               std::holds_alternative<ScaleTokens>(node->operation)) {
      add_writers(node->inputs[0], 1);
    } else if (std::holds_alternative<Add>(node->operation)) {
      for (const ValueId input : node->inputs) add_writers(input, 1);
    } else if (const auto* const norm = std::get_if<RmsNorm>(&node->operation)) {
      refuse("the norm '{}' lies between a Linear and the stream that it is added to", norm->part);
    } else {
      refuse("the operation '{}' lies between a Linear and the stream that it is added to", name_of(*node));
    }
  }

  const Graph& graph_;
  std::vector<Kind> kinds_;
  std::vector<std::string> norms_;
  bool ends_ = false;  // in logits
  StreamRotation found_;
};

}  // namespace

StreamRotation stream_rotation(const Graph& graph) { return StreamWalk(graph).run(); }

std::vector<ValueRotation> value_rotations(const Graph& graph) {
  std::vector<ValueRotation> found;
  for (const Node& node : graph.nodes) {
    const auto* const attention = std::get_if<Attention>(&node.operation);
    if (attention == nullptr) continue;
    const ValueId values = node.inputs[2];
    const Node* const producer = graph.producer(values);
    const std::vector<const Node*> readers = graph.consumers(node.output);
    if (producer == nullptr || graph.consumers(values).size() != 1 || is_output(graph, values)) continue;
    if (readers.size() != 1 || is_output(graph, node.output)) continue;
    const auto* const made_by = std::get_if<Linear>(&producer->operation);
    const auto* const read_by = std::get_if<Linear>(&readers.front()->operation);
    if (made_by == nullptr || read_by == nullptr) continue;
    found.push_back(
        {made_by->part, made_by->bias(), read_by->part, attention->kv_heads, attention->heads, attention->head_dim});
  }
  return found;
}

}  // namespace nibble
