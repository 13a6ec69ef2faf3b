// SPDX-License-Identifier: Apache-2.0
#include "net/engine/code_fusion.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace nibble::net_engine {
namespace {

// Codes that a Dequantize of one scale and zero reads.
struct CodedInput {
  ValueId codes;
  CodeGrid grid;  // of bytes
};

class Matcher {
 public:
  Matcher(const Net& net, const Readers& readers, const CodeValues& values, const Node& end)
      : net_(net), readers_(readers), values_(values), end_(end) {}

  std::optional<CodeFusion> match() {
    const auto& op = std::get<Quantize>(end_.operation);
    const auto grid = grid_of(net_, readers_, end_);
    if (!grid || !(grid->scale > 0) || !std::isfinite(grid->scale) || !values_.is_code(end_.output))
      return std::nullopt;
    grid_ = *grid;
    limits_ = {static_cast<float>(op.low) - grid_.zero, static_cast<float>(op.high) - grid_.zero,
               grid_.zero + values_.shift(end_.output)};
    if (limits_.zero < 0 || limits_.zero > 255 || limits_.zero != std::nearbyint(limits_.zero)) return std::nullopt;
    if (auto table = match_table()) return CodeFusion(std::move(*table));
    inside_.clear();
    const Node* node = step_back(end_);
    if (node == nullptr) return std::nullopt;
    if (const auto* const unary = std::get_if<Unary>(&node->operation)) {
      if (!clip(*unary)) return std::nullopt;
      node = step_back(*node);
      if (node == nullptr) return std::nullopt;
    }
    if (auto sum = match_sum(*node)) return CodeFusion(*sum);
    if (auto product = match_product(*node)) return CodeFusion(std::move(*product));
    return std::nullopt;
  }
  const std::vector<const Node*>& inside() const { return inside_; }

 private:
  // The node before, which nothing else reads and which becomes part of the fusion.
  const Node* step_back(const Node& node, std::size_t input = 0) {
    const Node* const before = readers_.sole_maker(node.inputs[input]);
    if (before != nullptr) inside_.push_back(before);
    return before;
  }

  std::optional<CodedInput> coded(ValueId value) const {
    const Node* const maker = readers_.maker(value);
    if (maker == nullptr || !std::holds_alternative<Dequantize>(maker->operation)) return std::nullopt;
    const auto grid = grid_of(net_, readers_, *maker);
    const ValueId codes = maker->inputs[0];
    if (!grid || !values_.is_code(codes)) return std::nullopt;
    return CodedInput{codes, {grid->scale, grid->zero + values_.shift(codes)}};
  }

  bool clip(const Unary& unary) {
    if (unary.kind != Unary::Kind::relu && unary.kind != Unary::Kind::clip) return false;
    const float low = unary.kind == Unary::Kind::relu ? 0 : unary.a,
                high = unary.kind == Unary::Kind::relu ? std::numeric_limits<float>::infinity() : unary.b;
    // Within what codes reach, also where a limit does not lie there.
    const float lowest = limits_.low, highest = limits_.high;
    limits_.low = std::clamp(std::nearbyint(low / grid_.scale), lowest, highest);
    limits_.high = std::max(limits_.low, std::clamp(std::nearbyint(high / grid_.scale), lowest, highest));
    return true;
  }

  std::optional<CodeSum> match_sum(const Node& node) const {
    const auto* const binary = std::get_if<Binary>(&node.operation);
    if (binary == nullptr || binary->kind != Binary::Kind::add) return std::nullopt;
    if (net_.graph.values[node.inputs[0]] != net_.graph.values[node.inputs[1]]) return std::nullopt;
    const auto a = coded(node.inputs[0]), b = coded(node.inputs[1]);
    if (!a || !b) return std::nullopt;
    return CodeSum{a->codes, b->codes, a->grid, b->grid, {grid_.scale, limits_.zero}, limits_};
  }

  // Factors of each output that sums are multiplied by: one, or one for each along the outputs' dimension.
  std::vector<float> factors_of(const Node& multiply, std::size_t input, std::size_t outputs,
                                std::size_t behind) const {
    const auto stored = stored_numbers(net_, readers_, multiply.inputs[input]);
    if (stored.size() == 1) return std::vector<float>(outputs, stored[0]);
    const Extents extents = extents_of(net_.graph.values[multiply.inputs[input]]);
    const bool lies_along = extents.size() > behind && extents[extents.size() - 1 - behind] == outputs;
    if (stored.size() != outputs || !lies_along) return {};
    return {stored.begin(), stored.end()};
  }

  std::optional<CodeProduct> match_product(const Node& last) {
    const Node* node = &last;
    const auto* const multiply = std::get_if<Binary>(&node->operation);
    std::size_t stored_input = 2;
    if (multiply != nullptr && multiply->kind == Binary::Kind::multiply) {
      stored_input = stored_numbers(net_, readers_, node->inputs[1]).empty() ? 0 : 1;
      node = step_back(last, 1 - stored_input);
      if (node == nullptr || net_.graph.values[node->output] != net_.graph.values[last.output]) return std::nullopt;
    }
    const auto* const convolution = std::get_if<Convolution>(&node->operation);
    const auto* const linear = std::get_if<Linear>(&node->operation);
    if (convolution == nullptr && linear == nullptr) return std::nullopt;
    const auto x = coded(node->inputs[0]);
    if (!x || x->grid.zero < 0 || x->grid.zero > 255 || x->grid.zero != std::nearbyint(x->grid.zero))
      return std::nullopt;
    const auto outputs = static_cast<std::size_t>(convolution != nullptr ? convolution->outputs : linear->rows);
    const std::size_t behind = convolution != nullptr ? convolution->window.rank() : 0;
    std::vector<float> factors(outputs, 1);
    if (stored_input < 2) factors = factors_of(last, stored_input, outputs, behind);
    if (factors.empty()) return std::nullopt;
    auto weights = coded_weights(net_.weight(convolution != nullptr ? convolution->part : linear->part), outputs);
    if (!weights) return std::nullopt;
    const std::string bias = convolution != nullptr ? convolution->bias() : linear->bias();
    CodeProduct product{.product = node,
                        .x = x->codes,
                        .x_zero = static_cast<std::uint8_t>(x->grid.zero),
                        .weights = std::move(weights->codes),
                        .bias = {},
                        .factors = {},
                        .offsets = {},
                        .limits = limits_};
    const bool fits = scale_outputs(product, weights->scales, factors, x->grid,
                                    bias.empty() ? std::span<const float>{} : net_.weight(bias));
    if (!fits) return std::nullopt;
    return product;
  }

  // false: sums that 32 bits do not hold.
  bool scale_outputs(CodeProduct& product, std::span<const float> scales, std::span<const float> factors,
                     const CodeGrid& x, std::span<const float> bias) const {
    const std::size_t outputs = scales.size(), row = product.weights.size() / outputs;
    for (std::size_t j = 0; j < outputs; ++j) {
      const double step = static_cast<double>(x.scale) * static_cast<double>(scales[j]);
      product.factors.push_back(
          static_cast<float>(step * static_cast<double>(factors[j]) / static_cast<double>(grid_.scale)));
      std::int64_t sum = 0, size = 0;
      for (std::size_t i = 0; i < row; ++i) {
        sum -= product.weights[j * row + i];
        size += std::abs(product.weights[j * row + i]);
      }
      sum *= product.x_zero;
      // A bias that is a multiple of the step is summed exactly; what f32 rounded when they were multiplied is allowed
      // for.
      const double steps = bias.empty() ? 0 : static_cast<double>(bias[j]) / step, whole = std::nearbyint(steps);
      const bool is_exact = std::abs(steps - whole) <= 1e-4 + std::abs(steps) * 0x1p-22;
      if (is_exact) {
        if (!(std::abs(whole) < 0x1p31)) return false;
        sum += static_cast<std::int64_t>(whole);
      }
      product.offsets.push_back(
          is_exact ? 0
                   : static_cast<float>(static_cast<double>(bias[j]) * static_cast<double>(factors[j]) /
                                        static_cast<double>(grid_.scale)));
      constexpr std::int64_t kMost = std::int64_t{1} << 31;
      if (std::abs(sum) + 255 * size >= kMost) return false;
      product.bias.push_back(static_cast<std::int32_t>(sum));
    }
    return true;
  }

  // Functions of one number, and of one number and a stored one, back to codes.
  std::optional<CodeTable> match_table() {
    std::vector<const Node*> chain = {&end_};
    ValueId value = end_.inputs[0];
    std::optional<CodedInput> x;
    while (!(x = coded(value))) {
      const Node* const node = readers_.sole_maker(value);
      if (node == nullptr) return std::nullopt;
      const bool is_one =
          std::holds_alternative<Unary>(node->operation) || std::holds_alternative<Sigmoid>(node->operation) ||
          std::holds_alternative<Silu>(node->operation) || std::holds_alternative<Gelu>(node->operation);
      std::size_t from = 0;
      if (!is_one) {
        if (!std::holds_alternative<Binary>(node->operation)) return std::nullopt;
        from = stored_numbers(net_, readers_, node->inputs[1]).size() == 1   ? 0
               : stored_numbers(net_, readers_, node->inputs[0]).size() == 1 ? 1
                                                                             : 2;
        if (from == 2) return std::nullopt;
      }
      if (net_.graph.values[node->inputs[from]] != net_.graph.values[node->output]) return std::nullopt;
      chain.push_back(node);
      value = node->inputs[from];
    }
    CodeTable table{.x = x->codes};
    chain.push_back(readers_.maker(value));
    fill_table(table, chain, values_.shift(x->codes));
    inside_.assign(chain.begin() + 1, chain.end() - 1);
    return table;
  }

  // By the operations' own arithmetic, on all codes at once.
  void fill_table(CodeTable& table, const std::vector<const Node*>& chain, float shift) const {
    std::vector<float> numbers(256);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i) - shift;
    const Dimensions all = named(Extents{256}), one = {};
    for (auto node = chain.rbegin(); node != chain.rend(); ++node) {
      std::vector<Dimensions> shapes;
      std::vector<std::span<const float>> inputs;
      for (const ValueId input : (*node)->inputs) {
        const auto stored = stored_numbers(net_, readers_, input);
        shapes.push_back(stored.size() == 1 ? one : all);
        inputs.push_back(stored.size() == 1 ? stored : std::span<const float>(numbers));
      }
      std::vector<float> made = evaluate_operation((*node)->operation, shapes, inputs, {}, nullptr);
      numbers = std::move(made);
    }
    const float up = values_.shift(end_.output);
    for (std::size_t i = 0; i < numbers.size(); ++i) table.bytes[i] = static_cast<std::uint8_t>(numbers[i] + up);
  }

  const Net& net_;
  const Readers& readers_;
  const CodeValues& values_;
  const Node& end_;
  CodeGrid grid_;
  CodeLimits limits_;
  std::vector<const Node*> inside_;
};

}  // namespace

std::optional<CodeFusion> code_fusion(const Net& net, const Readers& readers, const CodeValues& values, const Node& end,
                                      std::vector<bool>& absorbed) {
  if (!std::holds_alternative<Quantize>(end.operation)) return std::nullopt;
  Matcher matcher(net, readers, values, end);
  auto fusion = matcher.match();
  if (fusion)
    for (const Node* const node : matcher.inside()) absorbed[readers.place(*node)] = true;
  return fusion;
}

}  // namespace nibble::net_engine
