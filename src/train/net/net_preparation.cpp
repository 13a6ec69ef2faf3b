// SPDX-License-Identifier: Apache-2.0
#include "train/net/net_preparation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/random.h"
#include "net/quantize/weight_rounding.h"
#include "net/signs.h"
#include "net/simplify.h"

namespace nibble {
namespace {

bool is_trained_product(const Node& node) {
  return std::holds_alternative<Convolution>(node.operation) || std::holds_alternative<Linear>(node.operation);
}

std::map<std::string, std::size_t> uses_of(const Graph& graph) {
  std::map<std::string, std::size_t> uses;
  for (const Node& node : graph.nodes)
    for (const WeightUse& use : graph.weights(node)) ++uses[use.part];
  return uses;
}

std::string free_part(const Net& net, const std::string& wanted) {
  std::string part = wanted;
  for (std::size_t i = 1; net.weights.contains(part); ++i) part = fmt::format("{}_{}", wanted, i);
  return part;
}

// By which signs and sizes a row's numbers have become others: codes stay, but for their sign.
void follow(WeightCodes& codes, std::vector<float>& numbers) {
  const std::uint64_t cols = codes.cols();
  const int high = codes.bits == 1 ? 1 : std::max(1, (1 << (codes.bits - 1)) - 1);
  for (std::uint64_t row = 0; row < codes.rows; ++row) {
    const auto first = static_cast<std::ptrdiff_t>(row * cols);
    const auto begin = codes.codes.begin() + first, end = begin + static_cast<std::ptrdiff_t>(cols);
    const auto largest = std::max_element(begin, end, [](int a, int b) { return std::abs(a) < std::abs(b); });
    if (*largest == 0) continue;
    const float number = numbers[static_cast<std::size_t>(largest - codes.codes.begin())];
    const float scale = number / static_cast<float>(*largest);
    codes.scales[row] = scale == 0 ? 1 : std::fabs(scale);
    if (scale == 0)
      std::fill(begin, end, std::int8_t{0});
    else if (scale < 0)  // the lowest code has no counterpart
      std::transform(begin, end, begin, [&](int code) { return static_cast<std::int8_t>(std::min(-code, high)); });
  }
  numbers = numbers_of(codes);
}

}  // namespace

std::vector<TrainedProduct> products_of(const Net& net) {
  const std::map<std::string, std::size_t> uses = uses_of(net.graph);
  std::vector<TrainedProduct> products;
  for (const Node& node : net.graph.nodes) {
    if (!is_trained_product(node)) continue;
    const WeightUse use = net.graph.weights(node)[0];
    if (uses.at(use.part) != 1) continue;
    const std::string& name = net.names[node.output];
    products.push_back({use.part, name.empty() ? fmt::format("v{}", node.output) : name,
                        rows_of_weight(node.operation, use), net.weight(use.part).size()});
  }
  return products;
}

void draw_weights(Net& net, std::uint64_t seed) {
  Random random(seed);
  for (const Node& node : net.graph.nodes)
    for (const WeightUse& use : net.graph.weights(node)) {
      if (std::holds_alternative<Constant>(node.operation)) continue;
      std::vector<float>& numbers = net.weights.find(use.part)->second;
      if (use.role == TensorRole::linear) {
        const std::uint64_t rows = std::max<std::uint64_t>(1, rows_of_weight(node.operation, use));
        // Behind a Relu half of the numbers are 0; gates have none, and recur.
        const bool recurs = std::holds_alternative<Gru>(node.operation) || std::holds_alternative<Lstm>(node.operation);
        const double size =
            std::sqrt((recurs ? 1 : 2) / static_cast<double>(std::max<std::size_t>(1, numbers.size() / rows)));
        for (float& number : numbers) number = static_cast<float>(size * random.normal());
      } else if (use.role == TensorRole::bias) {
        std::ranges::fill(numbers, 0.0F);
      } else if (use.role == TensorRole::norm) {
        std::ranges::fill(numbers, 1.0F);
      } else if (std::holds_alternative<BatchNorm>(node.operation)) {
        std::ranges::fill(numbers, use.part.ends_with(".variance") ? 1.0F : 0.0F);
      }
    }
}

bool put_signs_before(Net& net, const std::string& part) {
  Graph& graph = net.graph;
  const auto reader = std::ranges::find_if(
      graph.nodes, [&](const Node& node) { return is_trained_product(node) && graph.weights(node)[0].part == part; });
  if (reader == graph.nodes.end()) return false;
  ValueId x = reader->inputs[0];
  std::vector<const Node*> makers = makers_of(graph);
  if (makers[x] != nullptr && signs_of(net, makers, *makers[x])) return true;
  const Dimensions shape = graph.values[x];
  const bool is_flat = std::holds_alternative<Linear>(reader->operation);
  if (shape.size() < 2 || (is_flat && shape.size() != 2)) return false;
  const Node* maker = makers[x];
  const auto* const unary = maker == nullptr ? nullptr : std::get_if<Unary>(&maker->operation);
  const bool is_cut = unary != nullptr && (unary->kind == Unary::Kind::relu || unary->kind == Unary::Kind::clip);
  if (is_cut && graph.consumers(x).size() == 1 && std::ranges::find(graph.outputs, x) == graph.outputs.end()) {
    x = maker->inputs[0];
    maker = makers[x];
  }
  // What this product reads goes a way of its own.
  const auto own = static_cast<ValueId>(graph.values.size());
  graph.values.push_back(shape);
  net.names.emplace_back();
  const auto place = static_cast<std::size_t>(reader - graph.nodes.begin());
  graph.nodes[place].inputs[0] = own;
  Node norm{Reshape{shape}, {x}, own, std::nullopt};
  if (maker == nullptr || !std::holds_alternative<BatchNorm>(maker->operation)) {
    const std::string name = free_part(net, part + ".norm");
    const std::size_t channels = static_cast<std::size_t>(shape[1].extent);
    norm.operation = BatchNorm{name};
    for (const char* const zeros : {".bias", ".mean"}) net.weights[name + zeros].assign(channels, 0.0F);
    for (const char* const ones : {"", ".variance"}) net.weights[name + ones].assign(channels, 1.0F);
  }
  graph.nodes.insert(graph.nodes.begin() + static_cast<std::ptrdiff_t>(place), std::move(norm));
  put_signs_behind(net, own);
  remove_unused(net);
  return true;
}

NetCodes take_codes(Net& net, std::span<const RoundedWeights> rounded, ThreadPool& pool) {
  NetCodes codes;
  for (const RoundedWeights& some : rounded)
    for (std::size_t i = 0; i < some.size(); ++i) {
      const QuantizedTensor stored = some.store(i, pool);
      codes.emplace(some.name(i), codes_of(stored));
      net.weights.find(some.name(i))->second = stored.view().decode();
    }
  simplify(net);
  for (auto& [part, one] : codes) follow(one, net.weights.find(part)->second);
  return codes;
}

}  // namespace nibble
