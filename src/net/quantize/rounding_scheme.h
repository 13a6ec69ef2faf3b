// SPDX-License-Identifier: Apache-2.0
//
// What of a net is rounded so that a runtime computes products in integers: which values have grids, which weights are
// in codes. ONNX Runtime takes an operator for one of integers where everything that it reads is dequantized and what
// it makes is quantized at once, behind a Relu or Clip at most. Plain values; safe to share.
//
//   const RoundingScheme scheme(net, NetRuntime::any);
//   RoundedParts rounded = scheme.all();
//   rounded.values.erase(sensitive);
//   rounded.values = scheme.useful(rounded);   // what no product in integers needs any more
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "format/activation_format.h"
#include "net/net.h"

namespace nibble {

// any: what ONNX Runtime, OpenVINO and others with asymmetric grids read. tensorrt: grids without zero points, before
// products alone. tflite: codes from end to end, as TensorFlow Lite computes: products make codes, too, means of
// windows and values that are put together have the grid of what they read, and functions whose results are bounded a
// fixed one.
enum class NetRuntime { any, tensorrt, tflite };

struct RoundedParts {
  std::set<ValueId> values;
  std::set<std::string, std::less<>> weights;
};

class RoundingScheme {
 public:
  // net: outlives this.
  RoundingScheme(const Net& net, NetRuntime runtime);

  const RoundedParts& all() const { return all_; }
  // Those of the values next to a product in integers, or to operators that pass codes on from or to one.
  std::set<ValueId> useful(const RoundedParts& rounded) const;
  // Values that share a grid have the same one here: what only moves numbers keeps their codes.
  ValueId grid_of(ValueId value) const { return grid_of_[value]; }
  // Of all that share this grid; nothing: samples say it.
  std::optional<ActivationGrid> fixed_grid(ValueId grid) const;
  // Whether a node multiplies in integers.
  bool is_integer(const Node& node, const RoundedParts& rounded) const;
  // Whether a node multiplies by weights, or two values.
  static bool is_product(const Node& node);
  // Of a node that makes a product: its value, or that of the activation right behind, which the rounding absorbs.
  ValueId end_of(const Node& node) const;

 private:
  // product: of integers where its inputs are rounded; a convolution's output, too. stored: has weights, computes in
  // f32. moving: keeps the grid. own: integers in, integers out, a grid of its own.
  enum class Role { product, stored, moving, own, absorbed, other };

  Role role_of(const Node& node) const;
  Role role_in_tflite(const Node& node) const;
  void fix_grids();
  bool passes_codes(ValueId value) const;
  bool is_constant(ValueId value) const;
  std::vector<ValueId> data_of(const Node& node) const;  // inputs that a product or an operator on codes rounds
  const Node* maker(ValueId value) const { return makers_[value]; }
  const Node* operator_of(ValueId value) const;  // that makes a value, an absorbed activation left out
  bool needs_output(const Node& node) const;
  void close(std::set<ValueId>& values, const std::set<ValueId>* within) const;

  const Net& net_;
  NetRuntime runtime_;
  std::vector<const Node*> makers_;
  std::vector<std::vector<const Node*>> readers_;
  std::set<ValueId> outputs_;
  std::vector<Role> roles_;  // by value that a node makes
  std::vector<ValueId> grid_of_;
  std::map<ValueId, ActivationGrid> fixed_;  // by grid_of
  RoundedParts all_;
};

}  // namespace nibble
