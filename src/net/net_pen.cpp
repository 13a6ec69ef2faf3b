// SPDX-License-Identifier: Apache-2.0
#include "net/net_pen.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "net/simplify.h"

namespace nibble {
namespace {

// Whole numbers that f32 holds, all of them.
constexpr std::int64_t kMostWhole = std::int64_t{1} << 24;
// What is worked out when a file is read is small, but for weights that are unpacked. What is more is left to the run.
constexpr std::uint64_t kMostFolded = std::uint64_t{1} << 25, kMostWork = std::uint64_t{1} << 26;
constexpr std::uint64_t kMostFoldedInAll = std::uint64_t{1} << 27, kMostWorkInAll = std::uint64_t{1} << 28;

// Operations that only move numbers, for which whole numbers of any size are carried along.
bool moves_only(const Operation& operation) {
  return std::holds_alternative<Reshape>(operation) || std::holds_alternative<Transpose>(operation) ||
         std::holds_alternative<StridedSlice>(operation) || std::holds_alternative<Concat>(operation) ||
         std::holds_alternative<Expand>(operation) || std::holds_alternative<Gather>(operation) ||
         std::holds_alternative<Select>(operation);
}

bool is_small(const NetConstant& constant) {
  return std::ranges::all_of(constant.integers, [](std::int64_t n) { return n >= -kMostWhole && n <= kMostWhole; });
}

}  // namespace

NetValue NetPen::input(const std::string& name, NumberType type, const Extents& extents) {
  const auto id = static_cast<ValueId>(net_.graph.values.size());
  numbers_of(std::span(extents));
  net_.graph.values.push_back(named(extents));
  net_.graph.inputs.push_back(id);
  net_.names.push_back(name);
  net_.inputs.push_back({name, id, type});
  return {type, net_.graph.values.back(), nullptr, id};
}

void NetPen::output(const std::string& name, const NetValue& value) {
  const ValueId id = id_of(value);
  net_.graph.outputs.push_back(id);
  net_.outputs.push_back({name, id, value.type});
}

void NetPen::name(const NetValue& value, const std::string& name) {
  if (!value.is_constant() && net_.names[value.id].empty()) net_.names[value.id] = name;
}

NetValue NetPen::constant(NetConstant constant) {
  NetValue value{constant.type, named(constant.extents), nullptr};
  value.constant = std::make_shared<const NetConstant>(std::move(constant));
  return value;
}

NetValue NetPen::numbers(std::vector<float> numbers, Extents extents) {
  return constant({NumberType::f32, std::move(extents), std::move(numbers)});
}

NetValue NetPen::integers(std::vector<std::int64_t> integers, Extents extents, NumberType type) {
  return constant({type, std::move(extents), {}, std::move(integers)});
}

NetValue NetPen::binary(Binary::Kind kind, const NetValue& a, const NetValue& b) {
  const bool is_truth = kind >= Binary::Kind::equal;
  if (kind == Binary::Kind::divide && !is_floating(a.type)) kind = Binary::Kind::divide_integers;
  return apply(Binary{kind}, {a, b}, is_truth ? NumberType::truth : a.type);
}

NetValue NetPen::unary(Unary::Kind kind, const NetValue& x, float a, float b) { return apply(Unary{kind, a, b}, {x}); }

NetValue NetPen::reshape(const NetValue& x, const Extents& extents) {
  return reshape(x, x.extents() == extents ? x.shape : named(extents));
}

NetValue NetPen::reshape(const NetValue& x, Dimensions shape) {
  if (x.shape == shape) return x;
  return apply(Reshape{std::move(shape)}, {x});
}

NetValue NetPen::transpose(const NetValue& x, std::vector<std::uint64_t> order) {
  if (std::ranges::is_sorted(order) && order.size() == x.rank()) return x;
  return apply(Transpose{std::move(order)}, {x});
}

NetValue NetPen::slice(const NetValue& x, std::uint64_t axis, std::uint64_t begin, std::uint64_t count) {
  StridedSlice op{std::vector<std::uint64_t>(x.rank(), 0), x.extents(), std::vector<std::int64_t>(x.rank(), 1)};
  require_drawable(axis < x.rank(), op.kName, "a dimension that is not there");
  op.begin[axis] = begin;
  op.count[axis] = count;
  if (begin == 0 && count == x.extent(axis)) return x;
  return apply(std::move(op), {x});
}

std::vector<float> NetPen::numbers_of_constant(const NetConstant& constant) {
  if (is_floating(constant.type)) return constant.numbers;
  require_drawable(is_small(constant), "a constant", "whole numbers beyond 2^24");
  return {constant.integers.begin(), constant.integers.end()};
}

NetValue NetPen::apply(Operation operation, const std::vector<NetValue>& inputs) {
  return apply(std::move(operation), inputs, inputs.front().type);
}

NetValue NetPen::apply(Operation operation, const std::vector<NetValue>& inputs, NumberType type) {
  std::vector<Dimensions> shapes;
  for (const NetValue& input : inputs) shapes.push_back(input.shape);
  Dimensions shape = std::visit([&](const auto& op) { return op.output(shapes); }, operation);
  const std::uint64_t numbers = nibble::numbers_of(shape);
  const bool is_known = !inputs.empty() && std::ranges::all_of(inputs, &NetValue::is_constant);
  if (is_known && may_fold(operation, shapes, numbers)) return fold(operation, inputs, type, std::move(shape));
  std::vector<ValueId> ids;
  for (const NetValue& input : inputs) ids.push_back(id_of(input));
  const ValueId id = draw(std::move(operation), std::move(ids), shape);
  return {type, std::move(shape), nullptr, id};
}

bool NetPen::may_fold(const Operation& operation, std::span<const Dimensions> shapes, std::uint64_t numbers) {
  const Cost cost = std::visit([&](const auto& op) { return op.cost(shapes); }, operation);
  const std::uint64_t work = cost.whole + cost.per_token * rows_of(shapes[0]);
  if (numbers > std::min(kMostFolded, kMostFoldedInAll - folded_) ||
      work > std::min(kMostWork, kMostWorkInAll - worked_))
    return false;
  folded_ += numbers;
  worked_ += work;
  return true;
}

NetValue NetPen::fold(const Operation& operation, const std::vector<NetValue>& inputs, NumberType type,
                      Dimensions shape) {
  if (!is_floating(type) && moves_only(operation)) return fold_movement(operation, inputs, type, std::move(shape));
  std::vector<Dimensions> shapes;
  std::vector<std::vector<float>> widened(inputs.size());
  std::vector<std::span<const float>> spans;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    shapes.push_back(inputs[i].shape);
    const NetConstant& one = *inputs[i].constant;
    if (!is_floating(one.type)) widened[i] = numbers_of_constant(one);
    spans.emplace_back(is_floating(one.type) ? one.numbers : widened[i]);
  }
  NetConstant made{type, extents_of(shape)};
  made.numbers =
      evaluate_operation(operation, shapes, spans, [&](std::string_view part) { return net_.weight(part); }, nullptr);
  if (!is_floating(type)) {
    const WholeRange range = whole_range(type);
    for (const float number : made.numbers) {
      require_drawable(std::abs(number) <= static_cast<float>(kMostWhole), operation_name(operation),
                       "whole numbers beyond 2^24, or places that are not there");
      require_drawable(static_cast<double>(number) >= range.low && static_cast<double>(number) <= range.high,
                       operation_name(operation), "whole numbers beyond their type");
      made.integers.push_back(static_cast<std::int64_t>(number));
    }
    made.numbers.clear();
  }
  NetValue value{type, std::move(shape), nullptr};
  value.constant = std::make_shared<const NetConstant>(std::move(made));
  return value;
}

// By moving places in their stead.
NetValue NetPen::fold_movement(const Operation& operation, const std::vector<NetValue>& inputs, NumberType type,
                               Dimensions shape) {
  const bool decides = std::holds_alternative<Select>(operation), looks_up = std::holds_alternative<Gather>(operation);
  std::vector<std::vector<float>> moved(inputs.size());
  std::vector<std::int64_t> all;
  std::vector<std::span<const float>> spans;
  std::vector<Dimensions> shapes;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const NetConstant& one = *inputs[i].constant;
    if ((decides && i == 0) || (looks_up && i == 1)) {
      moved[i] = numbers_of_constant(one);
    } else {
      moved[i].resize(one.integers.size());
      std::iota(moved[i].begin(), moved[i].end(), static_cast<float>(all.size()));
      all.insert(all.end(), one.integers.begin(), one.integers.end());
      require_drawable(all.size() <= static_cast<std::size_t>(kMostWhole), operation_name(operation),
                       "too many whole numbers");
    }
    spans.emplace_back(moved[i]);
    shapes.push_back(inputs[i].shape);
  }
  NetConstant made{type, extents_of(shape)};
  for (const float place : evaluate_operation(operation, shapes, spans, {}, nullptr)) {
    require_drawable(place >= 0 && place < static_cast<float>(all.size()), operation_name(operation),
                     "places that are not there");
    made.integers.push_back(all[static_cast<std::size_t>(place)]);
  }
  NetValue value{type, std::move(shape), nullptr};
  value.constant = std::make_shared<const NetConstant>(std::move(made));
  return value;
}

ValueId NetPen::draw(Operation operation, std::vector<ValueId> inputs, Dimensions shape) {
  const auto id = static_cast<ValueId>(net_.graph.values.size());
  net_.graph.values.push_back(std::move(shape));
  net_.names.emplace_back();
  net_.graph.nodes.push_back({std::move(operation), std::move(inputs), id, std::nullopt});
  return id;
}

ValueId NetPen::id_of(const NetValue& value) {
  if (!value.is_constant()) return value.id;
  const auto known = drawn_.find(value.constant.get());
  if (known != drawn_.end() && net_.graph.values[known->second.second] == value.shape) return known->second.second;
  const std::string name = part("constant", numbers_of_constant(*value.constant));
  const ValueId id = draw(Constant{name, value.shape}, {}, value.shape);
  drawn_[value.constant.get()] = {value.constant, id};
  return id;
}

std::string NetPen::free_part(const std::string& wanted) {
  const auto is_taken = [&](const std::string& name) {
    const auto behind = net_.weights.lower_bound(name + '.');
    return net_.weights.contains(name) || (behind != net_.weights.end() && behind->first.starts_with(name + '.'));
  };
  std::string name = wanted;
  while (is_taken(name)) name = wanted + "_" + std::to_string(++suffixes_[wanted]);
  return name;
}

void NetPen::put(const std::string& part, std::vector<float> numbers) { net_.weights[part] = std::move(numbers); }

std::string NetPen::part(const std::string& wanted, std::vector<float> numbers) {
  std::string name = free_part(wanted);
  put(name, std::move(numbers));
  return name;
}

Net NetPen::finish() && {
  remove_unused(net_);
  return std::move(net_);
}

}  // namespace nibble
