// SPDX-License-Identifier: Apache-2.0
//
// Where a network's values may be rotated for good, by an orthogonal matrix that goes into the weights on both sides,
// and compute the same: the stream between the layers (R1 of QuaRot and SpinQuant), and what attention gathers of
// values, head by head (R2). Both follow from a drawing; pure functions.
//
//   const StreamRotation stream = stream_rotation(layer.graph);
//   if (stream.obstacle.empty()) rotate(stream.readers, stream.writers);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace nibble {

// What a drawing has to do with a stream that is rotated.
struct StreamRotation {
  // Weights whose columns read it, behind a norm over all its channels whose weights they take, for what the norm gives
  // is rotated as the stream is where its weights are ones.
  struct Reader {
    std::string norm;
    std::vector<std::string> parts;
  };
  std::vector<Reader> readers;
  std::vector<std::string> writers;  // weights whose rows, and biases whose numbers, are added to it
  std::vector<std::string> tables;   // whose looked-up rows begin it
  std::string obstacle;              // why it cannot be rotated, naming the operation; empty: it can
};
StreamRotation stream_rotation(const Graph& graph);

// Values that attention adds up, and the one Linear that reads the sums: the rows of each key-value head of `values`,
// and its bias's, may be rotated, and with them the columns of each head of `sums` that reads that key-value head.
struct ValueRotation {
  std::string values, bias, sums;  // parts; bias empty: none
  std::uint64_t kv_heads = 0, heads = 0, head_dim = 0;
};
// One for each attention of which this holds.
std::vector<ValueRotation> value_rotations(const Graph& graph);

}  // namespace nibble
