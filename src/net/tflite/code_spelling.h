// SPDX-License-Identifier: Apache-2.0
//
// Which nodes of a rounded drawing TensorFlow Lite computes in codes of 8 bits: all that they read is dequantized, and
// what they make is quantized at once, behind a Relu or Clip at most. Plain values; safe to share.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "io/tflite/tflite_model.h"
#include "net/net.h"
#include "net/tflite/tflite_draft.h"
#include "net/weight_codes.h"

namespace nibble {

// The functions whose codes have a grid that the format fixes.
inline constexpr TfliteGrid kShareGrid{1.0F / 256, -128}, kTanhGrid{1.0F / 128, 0};

class CodeSpelling {
 public:
  struct Coded {
    const Node* node = nullptr;
    TfliteActivation activation = TfliteActivation::none;
  };

  // net, codes: outlive this.
  CodeSpelling(const Net& net, const NetCodes& codes);

  // Of a Quantize: what is computed in codes with it; null: it rounds floats.
  const Coded* coded(const Node& quantize) const;
  // Whether a node is part of one that ends in a Quantize.
  bool is_absorbed(const Node& node) const { return absorbed_.contains(&node); }
  // Of a float node: the activation behind it that becomes part of it, and whose value it makes then.
  const Node* fused_activation(const Node& node) const;
  static std::optional<TfliteActivation> activation_of(const Unary& unary);

  // The grid of a Quantize whose codes are bytes; nothing: another one.
  std::optional<TfliteGrid> grid_of(const Node& quantize) const;
  // Of a Dequantize of such codes: the Quantize.
  const Node* quantize_of(ValueId dequantized) const;
  const Node* maker(ValueId value) const { return makers_[value]; }
  const std::vector<const Node*>& readers(ValueId value) const { return readers_[value]; }
  bool is_output(ValueId value) const { return outputs_.contains(value); }
  const Constant* constant_of(ValueId value) const;

  // Biases as whole numbers of 32 bits; empty: there are larger ones.
  std::vector<std::int32_t> whole_biases(const std::string& part, const std::string& bias, float scale,
                                         std::uint64_t outputs) const;

 private:
  const Node* sole_maker(ValueId value) const;
  std::optional<Coded> match(const Node& quantize);
  bool is_computed_in_codes(const Node& node, const TfliteGrid& made) const;
  bool has_whole_sums(const Node& node, const std::string& part, const std::string& bias, std::uint64_t outputs) const;

  const Net& net_;
  const NetCodes& codes_;
  std::vector<const Node*> makers_;
  std::vector<std::vector<const Node*>> readers_;
  std::set<ValueId> outputs_;
  std::map<const Node*, Coded> coded_;  // by Quantize
  std::set<const Node*> absorbed_;
};

}  // namespace nibble
