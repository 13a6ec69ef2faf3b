// SPDX-License-Identifier: Apache-2.0
#include "net/onnx/opset_fit.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace nibble {
namespace {

constexpr std::int64_t kEarliest = 13;

struct Since {
  std::string_view op;
  std::int64_t opset;
};
// Operators that are not there before.
constexpr Since kSince[] = {{"Gelu", 20}, {"GroupNormalization", 21}, {"LayerNormalization", 17}, {"Mish", 18}};

struct Release {
  std::int64_t opset, ir;
};
// The IR version that a release of ONNX brought with its opset.
constexpr Release kReleases[] = {{18, 8}, {20, 9}, {22, 10}, {23, 11}, {24, 12}, {28, 13}};

bool has_dilations(const OnnxNode& node) {
  const auto* const said = node.find<std::vector<std::int64_t>>("dilations");
  return said != nullptr && std::ranges::any_of(*said, [](std::int64_t step) { return step != 1; });
}

std::int64_t opset_of(const OnnxModel& model) {
  std::int64_t opset = kEarliest;
  for (const OnnxNode& node : model.nodes) {
    for (const Since& one : kSince)
      if (one.op == node.op) opset = std::max(opset, one.opset);
    if (node.op == "AveragePool" && has_dilations(node)) opset = std::max(opset, std::int64_t{19});
    if (const auto* const mode = node.find<std::string>("mode"); node.op == "Pad" && mode != nullptr && *mode == "wrap")
      opset = std::max(opset, std::int64_t{19});
  }
  for (const OnnxInitializer& one : model.initializers) {
    if (one.type == OnnxType::i4 || one.type == OnnxType::u4 || one.type == OnnxType::i16 || one.type == OnnxType::u16)
      opset = std::max(opset, std::int64_t{21});
    if (one.type == OnnxType::i2 || one.type == OnnxType::u2) opset = std::max(opset, std::int64_t{25});
  }
  return opset;
}

// Dimensions are an attribute of reductions before opset 18, but of sums.
void take_axes(const OnnxModel& model, OnnxNode& node) {
  const auto axes = std::ranges::find(model.initializers, node.inputs[1], &OnnxInitializer::name);
  std::vector<std::int64_t> numbers(axes->bytes.size() / sizeof(std::int64_t));
  std::memcpy(numbers.data(), axes->bytes.data(), numbers.size() * sizeof(std::int64_t));
  node.inputs.pop_back();
  node.attributes.push_back({"axes", std::move(numbers)});
}

void remove_unread(OnnxModel& model) {
  std::vector<std::string_view> read;
  for (const OnnxNode& node : model.nodes) read.insert(read.end(), node.inputs.begin(), node.inputs.end());
  std::ranges::sort(read);
  std::erase_if(model.initializers,
                [&](const OnnxInitializer& one) { return !std::ranges::binary_search(read, one.name); });
}

}  // namespace

void fit_to_opset(OnnxModel& model) {
  model.opset = opset_of(model);
  model.ir_version = std::ranges::find_if(kReleases, [&](const Release& one) { return model.opset <= one.opset; })->ir;
  std::vector<OnnxNode> nodes;
  for (OnnxNode& node : model.nodes) {
    const bool is_reduction = node.op.starts_with("Reduce") && node.op != "ReduceSum" && node.inputs.size() == 2;
    if (is_reduction && model.opset < 18) take_axes(model, node);
    if (node.op == "AveragePool" && !has_dilations(node))
      std::erase_if(node.attributes, [](const OnnxAttribute& one) { return one.name == "dilations"; });
    if (node.op == "HardSwish" && model.opset < 14) {
      const std::string gate = node.outputs[0] + "/gate";
      nodes.push_back({"", "HardSigmoid", "", node.inputs, {gate}, {{"alpha", 1.0F / 6}, {"beta", 0.5F}}});
      nodes.push_back({"", "Mul", "", {node.inputs[0], gate}, node.outputs, {}});
      continue;
    }
    nodes.push_back(std::move(node));
  }
  model.nodes = std::move(nodes);
  remove_unread(model);
}

}  // namespace nibble
