// SPDX-License-Identifier: Apache-2.0
//
// A small net as a file says it: a drawing whose values have fixed extents, the numbers that it reads, and what its
// inputs and outputs are called. Plain values; safe to share between threads while nobody changes one.
//
//   const Net net = open_net("mnist.onnx", {});
//   const auto outputs = evaluate(net, {{image}}, &pool);
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "graph/extents.h"
#include "graph/graph.h"
#include "net/number_type.h"

namespace nibble {

// An input or output of the file.
struct NetPort {
  std::string name;
  ValueId value = 0;
  NumberType type = NumberType::f32;
};

struct Net {
  std::string source;     // the file
  std::string container;  // "ONNX", "TFLite"
  std::string written;    // "opset 13, by pytorch 1.9"; what the file says of itself
  Graph graph;
  std::map<std::string, std::vector<float>, std::less<>> weights;  // by part
  std::vector<NetPort> inputs, outputs;
  std::vector<std::string> names;  // by value, as the file calls it; empty: it has no name there

  std::span<const float> weight(std::string_view part) const { return weights.find(part)->second; }
};

// What a file leaves open.
struct NetOptions {
  std::map<std::string, Extents> shapes = {};    // by input
  std::map<std::string, double> constants = {};  // inputs that are this number and no inputs any more
  bool simplifies = false;  // folds what can be folded and takes patterns for what they are: net/simplify.h
};

// Whether a path is a file that is read as a net, by its name's end: .onnx, .tflite.
bool is_net(const std::filesystem::path& path);
// Error(corrupt, unsupported) names file, node and reason.
Net open_net(const std::filesystem::path& path, const NetOptions& options);

// What the inputs of a file are called that no option makes a constant, without reading more of it.
std::vector<std::string> input_names(const std::filesystem::path& path, const NetOptions& options);

// The values of the outputs, in their order. given: of the inputs, in theirs. pool: null: one thread. see: called with
// each node and what it has made.
using NetObserver = std::function<void(const Node&, std::span<const float>)>;
std::vector<std::vector<float>> evaluate(const Net& net, std::span<const std::vector<float>> given, ThreadPool* pool,
                                         const NetObserver& see = {});

// Error(unusable_input): an array of so many numbers for an input that has another number of them.
void require_input(const Net& net, std::size_t index, std::size_t numbers);

// One operation's reference arithmetic, by the shapes of what it reads.
std::vector<float> evaluate_operation(const Operation& operation, std::span<const Dimensions> shapes,
                                      const std::vector<std::span<const float>>& inputs,
                                      const std::function<std::span<const float>(std::string_view)>& weight,
                                      ThreadPool* pool);

// Of what a value has to be multiplied by to be one of tokens: all but its last dimension.
std::uint64_t rows_of(const Dimensions& dimensions);
// Multiplications and additions of a node, each pair counted once.
std::uint64_t work_of(const Graph& graph, const Node& node);
std::string_view operation_name(const Operation& operation);

}  // namespace nibble
