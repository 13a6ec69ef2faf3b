// SPDX-License-Identifier: Apache-2.0
//
// What is in a small net: inputs and outputs, operations in order with what they cost, the ranges of their weights.
// Pure functions.
//
//   const NetPortrait portrait = portray(open_net("mnist.onnx", {}));
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "net/net.h"

namespace nibble {

struct PortrayedPort {
  std::string name, type;
  Extents shape;
};

// low, high: the smallest and the largest of its weights, biases left out; both 0 where it has none. not_finite: of
// all.
struct PortrayedWeights {
  std::uint64_t parameters = 0, not_finite = 0;
  float low = 0, high = 0;
};

struct PortrayedOperation {
  std::string operation, name;      // name: of the value that it makes, as the file calls it; empty: it has none
  std::vector<std::string> inputs;  // names; "%7" of values without one
  Extents shape;
  std::uint64_t multiply_adds = 0;  // of operations with weights, and of products of two values
  PortrayedWeights weights;
};

struct NetPortrait {
  std::string file, container, written;
  std::vector<PortrayedPort> inputs, outputs;
  std::vector<PortrayedOperation> operations;                       // constants left out
  std::vector<std::pair<std::string, std::uint64_t>> by_kind;       // how many of each operation, by name
  std::uint64_t parameters = 0, multiply_adds = 0, not_finite = 0;  // of weights
};

NetPortrait portray(const Net& net);

}  // namespace nibble
