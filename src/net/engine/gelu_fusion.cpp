// SPDX-License-Identifier: Apache-2.0
#include "net/engine/gelu_fusion.h"

#include <array>
#include <cmath>
#include <numbers>
#include <optional>

#include "net/engine/fusion.h"
#include "net/simplify.h"

namespace nibble::net_engine {
namespace {

constexpr double kNear = 1e-4;  // of constants, as files round them
constexpr int kDeepest = 8;

bool is_near(double a, double b) { return std::abs(a - b) <= kNear * std::abs(b); }

// Coefficients of 1, x, x^2, x^3.
using Polynomial = std::array<double, 4>;

class GeluFinder {
 public:
  explicit GeluFinder(const Net& net) : net_(net), readers_(net.graph) {}

  // x, where a node ends the chain.
  std::optional<ValueId> gelu_of(const Node& node) const {
    if (!is_product(node)) return std::nullopt;
    Factors factors;
    for (const ValueId input : node.inputs) collect(input, factors, kDeepest);
    if (factors.values.size() != 2) return std::nullopt;
    for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
      const ValueId x = factors.values[1 - i];
      const std::optional<ValueId> bent = bend_of(factors.values[i]);
      if (!bent || !is_near(factors.coefficient, 0.5)) continue;
      const std::optional<Polynomial> p = polynomial(*bent, x, kDeepest);
      const double root = std::sqrt(2 / std::numbers::pi);
      if (p && (*p)[0] == 0 && (*p)[2] == 0 && is_near((*p)[1], root) && is_near((*p)[3], root * 0.044715) &&
          net_.graph.values[x] == net_.graph.values[node.output])
        return x;
    }
    return std::nullopt;
  }

 private:
  struct Factors {
    double coefficient = 1;
    std::vector<ValueId> values;
  };

  static bool is_product(const Node& node) {
    const auto* const binary = std::get_if<Binary>(&node.operation);
    return std::holds_alternative<Multiply>(node.operation) ||
           (binary != nullptr && binary->kind == Binary::Kind::multiply);
  }
  static bool is_sum(const Node& node) {
    const auto* const binary = std::get_if<Binary>(&node.operation);
    return std::holds_alternative<Add>(node.operation) || (binary != nullptr && binary->kind == Binary::Kind::add);
  }
  std::optional<double> number(ValueId value) const {
    const Node* const maker = readers_.maker(value);
    const auto* const constant = maker == nullptr ? nullptr : std::get_if<Constant>(&maker->operation);
    if (constant == nullptr) return std::nullopt;
    const std::span<const float> numbers = net_.weight(constant->part);
    return numbers.size() == 1 ? std::optional(static_cast<double>(numbers[0])) : std::nullopt;
  }

  // What a product of products multiplies.
  void collect(ValueId value, Factors& factors, int depth) const {
    if (const auto known = number(value)) {
      factors.coefficient *= *known;
      return;
    }
    const Node* const maker = readers_.sole_maker(value);
    if (maker == nullptr || !is_product(*maker) || depth == 0) return factors.values.push_back(value);
    for (const ValueId input : maker->inputs) collect(input, factors, depth - 1);
  }

  // u, where a value is 1 + tanh(u).
  std::optional<ValueId> bend_of(ValueId value) const {
    const Node* const sum = readers_.sole_maker(value);
    if (sum == nullptr || !is_sum(*sum)) return std::nullopt;
    for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
      const Node* const bend = readers_.sole_maker(sum->inputs[1 - i]);
      const auto* const unary = bend == nullptr ? nullptr : std::get_if<Unary>(&bend->operation);
      if (number(sum->inputs[i]) == 1 && unary != nullptr && unary->kind == Unary::Kind::tanh) return bend->inputs[0];
    }
    return std::nullopt;
  }

  std::optional<Polynomial> polynomial(ValueId value, ValueId x, int depth) const {
    if (value == x) return Polynomial{0, 1, 0, 0};
    if (const auto known = number(value)) return Polynomial{*known, 0, 0, 0};
    const Node* const maker = readers_.maker(value);
    if (maker == nullptr || maker->inputs.size() != 2 || depth == 0) return std::nullopt;
    const auto a = polynomial(maker->inputs[0], x, depth - 1);
    if (!a) return std::nullopt;
    const auto* const binary = std::get_if<Binary>(&maker->operation);
    if (binary != nullptr && binary->kind == Binary::Kind::power) {
      const auto exponent = number(maker->inputs[1]);
      if (exponent == 2) return times(*a, *a);
      const auto square = exponent == 3 ? times(*a, *a) : std::nullopt;
      return square ? times(*square, *a) : std::nullopt;
    }
    const auto b = polynomial(maker->inputs[1], x, depth - 1);
    if (!b) return std::nullopt;
    if (is_product(*maker)) return times(*a, *b);
    if (!is_sum(*maker)) return std::nullopt;
    Polynomial sum = *a;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += (*b)[i];
    return sum;
  }

  // Nothing: of a higher degree.
  static std::optional<Polynomial> times(const Polynomial& a, const Polynomial& b) {
    Polynomial product{};
    for (std::size_t i = 0; i < a.size(); ++i)
      for (std::size_t j = 0; j < b.size(); ++j) {
        if (a[i] == 0 || b[j] == 0) continue;
        if (i + j >= product.size()) return std::nullopt;
        product[i + j] += a[i] * b[j];
      }
    return product;
  }

  const Net& net_;
  Readers readers_;
};

}  // namespace

std::size_t find_gelus(Net& net) {
  std::vector<std::pair<std::size_t, ValueId>> found;
  {
    const GeluFinder finder(net);
    for (std::size_t i = 0; i < net.graph.nodes.size(); ++i)
      if (const auto x = finder.gelu_of(net.graph.nodes[i])) found.emplace_back(i, *x);
  }
  for (const auto& [place, x] : found) {
    net.graph.nodes[place].operation = Gelu{};
    net.graph.nodes[place].inputs = {x};
  }
  if (!found.empty()) remove_unused(net);
  return found.size();
}

}  // namespace nibble::net_engine
