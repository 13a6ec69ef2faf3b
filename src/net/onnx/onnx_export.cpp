// SPDX-License-Identifier: Apache-2.0
#include "net/onnx/onnx_export.h"

#include <fmt/format.h>

#include <cstring>
#include <set>

#include "nibble/error.h"

namespace nibble {
namespace {

template <class T>
std::string bytes_of(std::span<const T> numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()};
}

class OnnxExport {
 public:
  explicit OnnxExport(const Net& net) : net_(net) {}

  OnnxModel write() {
    model_.graph_name = "net";
    for (const NetPort& input : net_.inputs) {
      model_.inputs.push_back(port(input));
      names_.emplace(input.value, input.name);
    }
    for (const Node& node : net_.graph.nodes) write(node);
    for (const NetPort& output : net_.outputs) {
      model_.outputs.push_back(port(output));
      model_.nodes.push_back({"", "Identity", "", {names_.at(output.value)}, {output.name}, {}});
    }
    return std::move(model_);
  }

 private:
  OnnxValue port(const NetPort& port) const {
    OnnxValue value{port.name, OnnxType::f32, {}};
    for (const Dimension& dimension : net_.graph.values[port.value]) value.dims.emplace_back(dimension.extent);
    return value;
  }

  void write(const Node& node) {
    const std::vector<Dimensions> shapes = net_.graph.input_shapes(node);
    const OnnxSpelling spelling = std::visit([&](const auto& op) { return op.onnx(shapes); }, node.operation);
    if (!spelling.refusal.empty())
      throw Error(ErrorKind::unsupported, fmt::format("{}: is not written to ONNX: {}: {}", net_.source,
                                                      operation_name(node.operation), spelling.refusal));
    std::vector<std::string> made;
    for (const OnnxStep& step : spelling.steps) {
      OnnxNode out{"", step.op, "", {}, {fmt::format("value/{}/{}", node.output, made.size())}, {}};
      for (const OnnxOperand& operand : step.inputs) out.inputs.push_back(name_of(operand, node, made));
      for (const OnnxSetting& setting : step.settings)
        std::visit([&](const auto& value) { out.attributes.push_back({setting.name, value}); }, setting.value);
      made.push_back(out.outputs[0]);
      model_.nodes.push_back(std::move(out));
    }
    names_.emplace(node.output, made.back());
  }

  std::string name_of(const OnnxOperand& operand, const Node& node, const std::vector<std::string>& made) {
    switch (operand.kind) {
      case OnnxOperand::Kind::input:
        return names_.at(node.inputs[operand.index]);
      case OnnxOperand::Kind::step:
        return made[operand.index];
      case OnnxOperand::Kind::weight:
        return weight(operand.part, node, false);
      case OnnxOperand::Kind::columns:
        return weight(operand.part, node, true);
      case OnnxOperand::Kind::number:
        return constant(fmt::format("number/{:.9g}", operand.number), OnnxType::f32, {},
                        bytes_of(std::span(&operand.number, 1)));
      case OnnxOperand::Kind::integers:
        return constant(fmt::format("integers/[{}]", fmt::join(operand.integers, ",")), OnnxType::i64,
                        {operand.integers.size()}, bytes_of(std::span(operand.integers)));
      case OnnxOperand::Kind::none:
        return {};
      case OnnxOperand::Kind::surrounding:
        break;
    }
    throw Error(ErrorKind::internal, "an operation of a decoder in a net");
  }

  std::string weight(const std::string& part, const Node& node, bool turns) {
    const std::span<const float> numbers = net_.weight(part);
    for (const WeightUse& use : net_.graph.weights(node)) {
      if (use.part != part) continue;
      if (!turns) return constant("weight/" + part, OnnxType::f32, use.shape, bytes_of(numbers));
      std::vector<float> turned(numbers.size());
      for (std::size_t row = 0; row < use.shape[0]; ++row)
        for (std::size_t col = 0; col < use.shape[1]; ++col)
          turned[col * use.shape[0] + row] = numbers[row * use.shape[1] + col];
      return constant("columns/" + part, OnnxType::f32, {use.shape[1], use.shape[0]},
                      bytes_of(std::span<const float>(turned)));
    }
    throw Error(ErrorKind::internal, "a spelling names a part that its operation does not read: " + part);
  }

  std::string constant(std::string name, OnnxType type, std::vector<std::uint64_t> dims, std::string bytes) {
    if (stored_.insert(name).second) model_.initializers.push_back({name, type, std::move(dims), std::move(bytes)});
    return name;
  }

  const Net& net_;
  OnnxModel model_;
  std::map<ValueId, std::string> names_;
  std::set<std::string> stored_;
};

}  // namespace

OnnxModel spell_onnx(const Net& net) { return OnnxExport(net).write(); }

}  // namespace nibble
