// SPDX-License-Identifier: Apache-2.0
//
// A decoder's drawings one behind the other, as one list of operations whose values have numbers of their own across
// the whole network: what an exporter walks through. Borrows the network. Internal to pipeline/export/onnx.
//
//   const FlatNetwork flat = flatten(network);
//   for (const FlatNode& node : flat.nodes) spell(node);
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/network.h"

namespace nibble {

struct FlatNode {
  const Node* node = nullptr;
  std::int64_t layer = -1;              // whose drawing it is of; -1: of the begin's or the end's
  std::vector<std::size_t> inputs;      // values
  std::size_t output = 0;               // the value that it makes
  std::vector<Dimensions> shapes;       // of its inputs
  const KeyValueState* keys = nullptr;  // of attention
};

struct FlatNetwork {
  std::vector<FlatNode> nodes;
  std::vector<std::size_t> producer;              // by value: the node
  std::vector<std::vector<std::size_t>> readers;  // by value: nodes, once for each time that they read it
  std::size_t logits = 0;                         // the last value

  const FlatNode& maker(std::size_t value) const { return nodes[producer[value]]; }
  bool has_one_reader(std::size_t value) const { return readers[value].size() == 1; }
};

FlatNetwork flatten(const Network& network);

}  // namespace nibble
