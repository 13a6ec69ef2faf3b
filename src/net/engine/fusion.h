// SPDX-License-Identifier: Apache-2.0
//
// Which operations of a net are computed in one step with the product before them. Pure functions.
#pragma once

#include <limits>
#include <optional>
#include <vector>

#include "graph/graph.h"

namespace nibble::net_engine {

// Who makes and who reads the values of a graph.
class Readers {
 public:
  explicit Readers(const Graph& graph);
  // Null: an input.
  const Node* maker(ValueId value) const { return maker_[value]; }
  std::size_t place(const Node& node) const { return static_cast<std::size_t>(&node - graph_.nodes.data()); }
  // The node that makes a value which one other node reads, once, and which is no output; null: it is not so.
  const Node* sole_maker(ValueId value) const { return count_[value] == 1 ? maker_[value] : nullptr; }

 private:
  const Graph& graph_;
  std::vector<const Node*> maker_;
  std::vector<std::size_t> count_;
};

// A convolution or Linear, what is added to it, and how the sum is clipped.
struct FloatFusion {
  const Node* product = nullptr;
  std::optional<ValueId> added;
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
};

// What ends in a node; nothing: it is computed by itself. absorbed: by place, set for the nodes before it that are
// computed with it.
std::optional<FloatFusion> float_fusion(const Graph& graph, const Readers& readers, const Node& end,
                                        std::vector<bool>& absorbed);

}  // namespace nibble::net_engine
