// SPDX-License-Identifier: Apache-2.0
#include "net/net.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "net/onnx/onnx_net.h"
#include "net/simplify.h"
#include "net/tflite/tflite_net.h"
#include "nibble/error.h"

namespace nibble {
namespace {

bool is_tflite(const std::filesystem::path& path) { return lower_extension(path) == ".tflite"; }

}  // namespace

std::uint64_t rows_of(const Dimensions& dimensions) {
  if (dimensions.empty()) return 1;
  return numbers_of(std::span<const std::uint64_t>(extents_of(dimensions)).first(dimensions.size() - 1));
}

std::uint64_t work_of(const Graph& graph, const Node& node) {
  const std::vector<Dimensions> shapes = graph.input_shapes(node);
  const Cost cost = std::visit([&](const auto& op) { return op.cost(shapes); }, node.operation);
  return cost.whole + (shapes.empty() ? 0 : cost.per_token * rows_of(shapes[0]));
}

std::string_view operation_name(const Operation& operation) {
  return std::visit([](const auto& op) { return std::string_view(op.kName); }, operation);
}

std::vector<float> evaluate_operation(const Operation& operation, std::span<const Dimensions> shapes,
                                      const std::vector<std::span<const float>>& inputs,
                                      const std::function<std::span<const float>(std::string_view)>& weight,
                                      ThreadPool* pool) {
  Operands operands{.tokens = shapes.empty() ? 1 : static_cast<std::size_t>(rows_of(shapes[0])),
                    .inputs = inputs,
                    .ids = {},
                    .weight = weight,
                    .pool = pool};
  return std::visit(
      [&](const auto& op) {
        std::vector<float> output(numbers_of(op.output(shapes)));
        op.evaluate(operands, shapes, output);
        return output;
      },
      operation);
}

void require_input(const Net& net, std::size_t index, std::size_t numbers) {
  const std::uint64_t expected = numbers_of(net.graph.values[net.inputs[index].value]);
  if (numbers != expected)
    throw Error(ErrorKind::unusable_input, fmt::format("{}: its input {} should have {} numbers and has {}", net.source,
                                                       net.inputs[index].name, expected, numbers));
}

std::vector<std::vector<float>> evaluate(const Net& net, std::span<const std::vector<float>> given, ThreadPool* pool,
                                         const NetObserver& see) {
  const Graph& graph = net.graph;
  std::vector<std::vector<float>> values(graph.values.size());
  std::vector<std::size_t> last_use(graph.values.size(), 0);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    for (const ValueId input : graph.nodes[i].inputs) last_use[input] = i;
  for (const ValueId output : graph.outputs) last_use[output] = graph.nodes.size();
  for (std::size_t i = 0; i < net.inputs.size(); ++i) {
    require_input(net, i, given[i].size());
    values[net.inputs[i].value] = given[i];
  }
  const auto weight = [&](std::string_view part) { return net.weight(part); };
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    std::vector<std::span<const float>> inputs;
    for (const ValueId input : node.inputs) inputs.emplace_back(values[input]);
    values[node.output] = evaluate_operation(node.operation, graph.input_shapes(node), inputs, weight, pool);
    if (see) see(node, values[node.output]);
    for (const ValueId input : node.inputs)
      if (last_use[input] == i) std::vector<float>().swap(values[input]);
  }
  std::vector<std::vector<float>> outputs;
  for (const NetPort& output : net.outputs) outputs.push_back(values[output.value]);
  return outputs;
}

bool is_net(const std::filesystem::path& path) {
  const std::string ending = lower_extension(path);
  return (ending == ".onnx" || ending == ".tflite") && !std::filesystem::is_directory(path);
}

std::vector<std::string> input_names(const std::filesystem::path& path, const NetOptions& options) {
  const MappedFile file(path);
  std::vector<std::string> names =
      is_tflite(path) ? tflite_input_names(file.bytes(), path) : onnx_input_names(file.bytes(), path);
  std::erase_if(names, [&](const std::string& name) { return options.constants.contains(name); });
  return names;
}

Net open_net(const std::filesystem::path& path, const NetOptions& options) {
  const MappedFile file(path);
  Net net = is_tflite(path) ? read_tflite_net(file.bytes(), path, options) : read_onnx_net(file.bytes(), path, options);
  if (options.simplifies) simplify(net);
  return net;
}

}  // namespace nibble
