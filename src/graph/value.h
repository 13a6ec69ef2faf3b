// SPDX-License-Identifier: Apache-2.0
//
// What flows through a graph, and what its operations read beside: values with named dimensions, and weights named by
// their part. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/shape.h"

namespace nibble {

enum class Axis { batch, token, expert, channel, height, width, other };

// extent 0: decided when the graph runs (tokens, a batch).
struct Dimension {
  Axis axis = Axis::channel;
  std::uint64_t extent = 0;
  bool operator==(const Dimension&) const = default;
};
using Dimensions = std::vector<Dimension>;

// The length of the last dimension, which is the one that Linears read.
inline std::uint64_t width_of(const Dimensions& dimensions) {
  return dimensions.empty() ? 1 : dimensions.back().extent;
}
// How many numbers there are for each token. Of [tokens, experts, width] those of the experts that the token is not
// routed to are zero.
std::uint64_t numbers_per_token(const Dimensions& dimensions);
// [tokens, width]
inline Dimensions token_rows(std::uint64_t width) { return {{Axis::token, 0}, {Axis::channel, width}}; }

// A value of one graph, by its place in Graph::values.
using ValueId = std::uint32_t;

// The name of one expert's part of an operation that has a matrix for each: "gate.3"; of its bias, "gate.bias", it is
// "gate.3.bias".
std::string expert_part(std::string_view part, std::uint64_t expert);

// bias: all vectors that are added, sinks too. coefficients: of an operation that is no product, such as the taps of a
// convolution. exact: a matrix outside the layers whose numbers stay as they are.
enum class TensorRole { embedding, head, linear, router, norm, bias, coefficients, exact };

// A weight that an operation reads. Layers that are alike read the same parts, each its own tensor.
struct WeightUse {
  std::string part;  // "q", "q.bias", "attention_norm": the family-independent name
  TensorRole role = TensorRole::linear;
  Shape shape;  // [rows, cols] or [n]
  bool operator==(const WeightUse&) const = default;
};

}  // namespace nibble
