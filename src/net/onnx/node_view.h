// SPDX-License-Identifier: Apache-2.0
//
// An operator of an ONNX model while it is drawn: what it reads by place, what it says of itself, where what it makes
// goes. Whatever is asked for and not there, or not as it should be, is an error that names the node. Internal to
// net/onnx.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/onnx/onnx_model.h"
#include "net/net_pen.h"

namespace nibble {

NumberType number_type_of(OnnxType type, const std::string& where);

class NodeView {
 public:
  NodeView(const OnnxNode& node, std::int64_t opset, std::string where, std::vector<std::optional<NetValue>> inputs,
           NetPen& pen)
      : node_(node), opset_(opset), where_(std::move(where)), inputs_(std::move(inputs)), pen_(pen) {
    outputs_.resize(node.outputs.size());
  }

  NetPen& pen() const { return pen_; }
  const OnnxNode& node() const { return node_; }
  std::int64_t opset() const { return opset_; }
  std::size_t num_inputs() const { return inputs_.size(); }
  bool has(std::size_t input) const { return input < inputs_.size() && inputs_[input].has_value(); }
  const NetValue& in(std::size_t input) const;
  const NetValue& constant(std::size_t input) const;  // of an input that must be known
  std::vector<std::int64_t> whole_numbers(std::size_t input) const;
  std::vector<float> numbers(std::size_t input) const;
  float single(std::size_t input) const;  // of a constant of one number
  bool wants(std::size_t output) const { return output < node_.outputs.size() && !node_.outputs[output].empty(); }
  void out(NetValue value, std::size_t output = 0);
  std::optional<NetValue>& output(std::size_t index) { return outputs_[index]; }

  std::int64_t whole(std::string_view attribute, std::int64_t otherwise, std::int64_t low = 0,
                     std::int64_t high = std::int64_t{1} << 24) const;
  bool flag(std::string_view attribute, bool otherwise = false) const { return whole(attribute, otherwise, 0, 1) != 0; }
  float number(std::string_view attribute, float otherwise) const;
  std::string text(std::string_view attribute, const std::string& otherwise) const;
  std::optional<std::vector<std::int64_t>> wholes(std::string_view attribute) const;
  std::optional<std::vector<float>> floats(std::string_view attribute) const;
  // A dimension: an attribute, or a number; negative ones are counted from the end. one_behind: may be `rank`, too.
  std::uint64_t axis(std::string_view attribute, std::int64_t otherwise, std::size_t rank,
                     bool one_behind = false) const;
  std::uint64_t axis(std::int64_t axis, std::size_t rank, bool one_behind = false) const;
  // Ascending: an attribute, or, from `since` on, an input.
  std::optional<std::vector<std::uint64_t>> axes(std::int64_t since, std::size_t input, std::size_t rank) const;

  // A part for weights of this node.
  std::string part_name(std::size_t input) const;

  [[noreturn]] void damaged(std::string_view why) const;
  [[noreturn]] void refuse(std::string_view why) const;

 private:
  const OnnxNode& node_;
  std::int64_t opset_;
  std::string where_;
  std::vector<std::optional<NetValue>> inputs_, outputs_;
  NetPen& pen_;
};

struct OnnxConverter {
  std::string_view op;
  void (*draw)(NodeView&);
};

std::span<const OnnxConverter> elementwise_converters();
std::span<const OnnxConverter> layout_converters();
std::span<const OnnxConverter> layer_converters();
std::span<const OnnxConverter> recurrent_converters();
std::span<const OnnxConverter> reduction_converters();
std::span<const OnnxConverter> quantized_converters();
std::span<const OnnxConverter> sampling_converters();

}  // namespace nibble
