// SPDX-License-Identifier: Apache-2.0
//
// How an operation is spelled in ONNX, as plain data: operators of opset 21's standard domain in order, each reading
// the operation's inputs, its weights, numbers, or what earlier ones have made; the last makes its value. Values are
// [batch, tokens, width]. What a decoder knows beside them (positions, what a sequence keeps) whoever writes a graph
// supplies. Plain values, safe to share between threads.
//
//   OnnxSpelling s;
//   s.apply("Mul", {s.input(0), s.apply("Sigmoid", {s.input(0)})});
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace nibble {

// What lies around a decoder's operations. cosines, sines: of the tokens' positions, [batch, tokens, 1, pairs], by the
// operation's own table. mask: what is added to scores, [batch, 1, tokens, all tokens], by its own window. past_keys,
// past_values: [batch, kv_heads, earlier tokens, head_dim]. positions: [batch, tokens, 1], of the network's type.
enum class OnnxSurrounding { token_ids, positions, cosines, sines, mask, past_keys, past_values };

struct OnnxOperand {
  // columns: a weight that is a matrix, turned: [columns, rows].
  enum class Kind { input, step, weight, columns, number, integers, surrounding, none };  // none: left out
  Kind kind = Kind::input;
  std::size_t index = 0;  // of an input, or of a step
  std::string part = {};  // of weights
  float number = 0;       // a scalar
  std::vector<std::int64_t> integers = {};
  OnnxSurrounding surrounding = OnnxSurrounding::token_ids;
  bool operator==(const OnnxOperand&) const = default;
};

using OnnxAttributeValue = std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>>;

struct OnnxSetting {
  std::string name;
  OnnxAttributeValue value;
  bool operator==(const OnnxSetting&) const = default;
};

struct OnnxStep {
  std::string op;
  std::vector<OnnxOperand> inputs;
  std::vector<OnnxSetting> settings;
  bool operator==(const OnnxStep&) const = default;
};

struct OnnxSpelling {
  std::vector<OnnxStep> steps;
  // Steps that make a sequence's keys and values with those of the new tokens: what it keeps. None of most operations.
  std::vector<std::size_t> present;
  std::string refusal;  // why no standard operators say it here; empty: they do

  OnnxOperand apply(std::string op, std::vector<OnnxOperand> inputs, std::vector<OnnxSetting> settings = {}) {
    steps.push_back({std::move(op), std::move(inputs), std::move(settings)});
    return {.kind = OnnxOperand::Kind::step, .index = steps.size() - 1};
  }
  void refuse(std::string why) { refusal = std::move(why); }

  static OnnxOperand input(std::size_t index) { return {.kind = OnnxOperand::Kind::input, .index = index}; }
  static OnnxOperand weight(std::string part) { return {.kind = OnnxOperand::Kind::weight, .part = std::move(part)}; }
  static OnnxOperand columns(std::string part) { return {.kind = OnnxOperand::Kind::columns, .part = std::move(part)}; }
  static OnnxOperand number(float value) { return {.kind = OnnxOperand::Kind::number, .number = value}; }
  static OnnxOperand integers(std::vector<std::int64_t> values) {
    return {.kind = OnnxOperand::Kind::integers, .integers = std::move(values)};
  }
  static OnnxOperand none() { return {.kind = OnnxOperand::Kind::none}; }
  static OnnxOperand surrounding(OnnxSurrounding which) {
    return {.kind = OnnxOperand::Kind::surrounding, .surrounding = which};
  }
};

}  // namespace nibble
