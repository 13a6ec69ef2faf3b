// SPDX-License-Identifier: Apache-2.0
//
// A network as it is drawn: operations in order, the values between them, the states that a sequence keeps. Plain
// values: compared, copied and shared freely between threads. Who interprets a drawing (engine, calibration, planning)
// never changes it.
//
//   for (const Node& node : graph.nodes)
//     if (const auto* linear = std::get_if<Linear>(&node.operation)) use(linear->part, node.inputs[0], node.output);
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/op/all.h"
#include "graph/value.h"

namespace nibble {

// What a sequence remembers between steps for one operation: keys and values of its tokens, of which the last `window`
// are seen (0: all of them).
struct KeyValueState {
  std::uint64_t kv_heads = 0, head_dim = 0, window = 0;
  bool is_received = false;      // keys and values come from an earlier drawing, in whose state they are kept already
  bool values_are_keys = false;  // one vector of a token is both
  bool operator==(const KeyValueState&) const = default;
};

// What a sequence remembers for one operation in so many f32 numbers, at first 0, however long it becomes. Each token
// changes them: without the numbers of an earlier point there is no way back to it.
struct RecurrentState {
  std::uint64_t numbers = 0;
  bool operator==(const RecurrentState&) const = default;
};

struct Node {
  Operation operation;
  std::vector<ValueId> inputs;
  ValueId output = 0;
  std::optional<std::uint32_t> state;  // place in Graph::states, or of operations that recur in Graph::recurrent
  bool operator==(const Node&) const = default;
};

// A value that crosses from one drawing of a network to later ones, which know it by its name. A {} in the name stands
// for the number of the layer whose drawing it is in.
struct Crossing {
  std::string name;
  ValueId value = 0;
  bool operator==(const Crossing&) const = default;
};

struct Graph {
  std::vector<Dimensions> values;  // by ValueId
  std::vector<Node> nodes;         // each reads only what earlier ones, or inputs, have made
  std::vector<KeyValueState> states;
  std::vector<RecurrentState> recurrent;
  std::vector<ValueId> inputs, outputs;    // those that cross among them, behind the others
  std::vector<Crossing> received, passed;  // of inputs, and of outputs
  bool operator==(const Graph&) const = default;

  std::uint64_t width(ValueId value) const { return width_of(values[value]); }
  const Node* producer(ValueId value) const;  // null: an input
  bool is_passed(ValueId value) const;
  std::vector<const Node*> consumers(ValueId value) const;  // in order, one for each time that it is read
  std::vector<Dimensions> input_shapes(const Node& node) const;
  std::vector<WeightUse> weights(const Node& node) const;
  // Of all nodes, in the order in which they are first read, each part once.
  std::vector<WeightUse> weights() const;
};

// The reference arithmetic of a whole graph over one sequence from position 0: the values of its outputs, [tokens,
// width] each. given: by input; ids: where it begins with tokens; weight: the f32 numbers of a part.
std::vector<std::vector<float>> evaluate(const Graph& graph, std::size_t tokens,
                                         std::span<const std::vector<float>> given, std::span<const std::int32_t> ids,
                                         const std::function<std::span<const float>(std::string_view)>& weight);

}  // namespace nibble
