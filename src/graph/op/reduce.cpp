// SPDX-License-Identifier: Apache-2.0
#include "graph/op/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/extents.h"

namespace nibble {
namespace {

using Kind = Reduce::Kind;

class Summary {
 public:
  Summary(Kind kind, bool takes_last) : kind_(kind), takes_last_(takes_last), sum_(kind == Kind::product ? 1 : 0) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    extreme_ = kind == Kind::maximum ? -kInfinity : kind == Kind::minimum ? kInfinity : 0;  // of nothing
  }

  void add(float number) {
    const auto x = static_cast<double>(number);
    switch (kind_) {
      case Kind::product:
        sum_ *= x;
        break;
      case Kind::l1:
        sum_ += std::abs(x);
        break;
      case Kind::l2:
      case Kind::sum_of_squares:
        sum_ += x * x;
        break;
      case Kind::log_sum_exp:
        add_exponential(x);
        break;
      case Kind::maximum:
      case Kind::argmax:
        if (count_ == 0 || x > extreme_ || (takes_last_ && x == extreme_)) take(x);
        break;
      case Kind::minimum:
      case Kind::argmin:
        if (count_ == 0 || x < extreme_ || (takes_last_ && x == extreme_)) take(x);
        break;
      default:
        sum_ += x;
    }
    ++count_;
  }

  float result() const {
    switch (kind_) {
      case Kind::mean:
        return static_cast<float>(sum_ / static_cast<double>(count_));
      case Kind::maximum:
      case Kind::minimum:
        return static_cast<float>(extreme_);
      case Kind::argmax:
      case Kind::argmin:
        return static_cast<float>(place_);
      case Kind::l2:
        return static_cast<float>(std::sqrt(sum_));
      case Kind::log_sum:
        return static_cast<float>(std::log(sum_));
      case Kind::log_sum_exp:
        return static_cast<float>(extreme_ + std::log(sum_));
      default:
        return static_cast<float>(sum_);
    }
  }

 private:
  void take(double x) {
    extreme_ = x;
    place_ = count_;
  }
  // Sums are of exp(x - the largest so far).
  void add_exponential(double x) {
    if (count_ == 0 || x > extreme_) {
      sum_ = count_ == 0 ? 1 : sum_ * std::exp(extreme_ - x) + 1;
      extreme_ = x;
    } else {
      sum_ += std::exp(x - extreme_);
    }
  }

  Kind kind_;
  bool takes_last_;
  double sum_ = 0, extreme_ = 0;
  std::size_t count_ = 0, place_ = 0;
};

// Many sums or extremes side by side, each in the order of a Summary: of rows that are `step` apart.
void summarize_columns(Kind kind, const float* x, std::size_t rows, std::size_t step, std::span<float> output) {
  std::vector<double> columns(x, x + output.size());
  if (kind == Kind::sum || kind == Kind::mean)
    for (double& column : columns) column += 0.0;  // sums begin with it: -0 becomes 0
  for (std::size_t row = 1; row < rows; ++row) {
    const float* const from = x + row * step;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto number = static_cast<double>(from[i]);
      if (kind == Kind::maximum)
        columns[i] = number > columns[i] ? number : columns[i];
      else if (kind == Kind::minimum)
        columns[i] = number < columns[i] ? number : columns[i];
      else
        columns[i] += number;
    }
  }
  const double divisor = kind == Kind::mean ? static_cast<double>(rows) : 1;
  for (std::size_t i = 0; i < columns.size(); ++i) output[i] = static_cast<float>(columns[i] / divisor);
}

std::string_view operator_of(Kind kind) {
  switch (kind) {
    case Kind::mean:
      return "ReduceMean";
    case Kind::sum:
      return "ReduceSum";
    case Kind::maximum:
      return "ReduceMax";
    case Kind::minimum:
      return "ReduceMin";
    case Kind::product:
      return "ReduceProd";
    case Kind::l1:
      return "ReduceL1";
    case Kind::l2:
      return "ReduceL2";
    case Kind::log_sum:
      return "ReduceLogSum";
    case Kind::log_sum_exp:
      return "ReduceLogSumExp";
    default:
      return "ReduceSumSquare";
  }
}

}  // namespace

Dimensions Reduce::output(std::span<const Dimensions> inputs) const {
  Extents extents;
  Dimensions kept = inputs[0];
  require_drawable(!axes.empty() && std::ranges::is_sorted(axes) && std::ranges::adjacent_find(axes) == axes.end(),
                   kName, "dimensions that are not in order");
  require_drawable(axes.back() < inputs[0].size(), kName, "a dimension that is not there");
  for (std::uint64_t i = 0; i < inputs[0].size(); ++i) {
    if (!std::ranges::binary_search(axes, i)) {
      extents.push_back(inputs[0][i].extent);
      continue;
    }
    require_drawable(inputs[0][i].extent > 0 || (kind != Kind::argmax && kind != Kind::argmin), kName,
                     "no places along a dimension");
    kept[i].extent = 1;
    if (keeps_dimensions) extents.push_back(1);
  }
  return keeps_dimensions ? kept : named(extents);
}

std::vector<WeightUse> Reduce::weights(std::span<const Dimensions>) const { return {}; }

// Not linear, or all channels at once.
std::vector<ScalePassage> Reduce::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Reduce::cost(std::span<const Dimensions> inputs) const { return {.whole = numbers_of(inputs[0])}; }

OnnxSpelling Reduce::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  const auto keeps = static_cast<std::int64_t>(keeps_dimensions);
  if (kind == Kind::argmax || kind == Kind::argmin) {
    const auto place = s.apply(kind == Kind::argmax ? "ArgMax" : "ArgMin", {s.input(0)},
                               {{"axis", static_cast<std::int64_t>(axes.front())},
                                {"keepdims", keeps},
                                {"select_last_index", static_cast<std::int64_t>(takes_last)}});
    s.apply("Cast", {place}, {{"to", std::int64_t{1}}});
    return s;
  }
  s.apply(std::string(operator_of(kind)), {s.input(0), s.integers({axes.begin(), axes.end()})}, {{"keepdims", keeps}});
  return s;
}

void Reduce::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const Extents extents = extents_of(inputs[0]);
  const std::vector<std::ptrdiff_t> strides = row_major(extents);
  Extents outer, inner;
  Strided from, along;
  for (std::uint64_t i = 0; i < extents.size(); ++i) {
    const bool is_reduced = std::ranges::binary_search(axes, i);
    (is_reduced ? inner : outer).push_back(extents[i]);
    (is_reduced ? along : from).strides.push_back(strides[i]);
  }
  if (output.empty()) return;
  const std::size_t outer_length = outer.empty() ? 1 : static_cast<std::size_t>(outer.back());
  const std::ptrdiff_t outer_step = outer.empty() ? 0 : from.strides.back();
  const std::size_t length = static_cast<std::size_t>(inner.back());
  const std::ptrdiff_t step = along.strides.back();
  const bool has_columns = kind == Kind::mean || kind == Kind::sum || kind == Kind::maximum || kind == Kind::minimum;
  if (has_columns && inner.size() == 1 && length > 0 && outer_step == 1 && outer_length > 1)
    return for_each_row<1>(outer, {from}, [&](std::size_t out, std::array<std::size_t, 1> at) {
      summarize_columns(kind, operands.inputs[0].data() + at[0], length, static_cast<std::size_t>(step),
                        output.subspan(out, outer_length));
    });
  for_each_row<1>(outer, {from}, [&](std::size_t out, std::array<std::size_t, 1> at) {
    for (std::size_t i = 0; i < outer_length; ++i) {
      const float* const x = operands.inputs[0].data() + at[0] + static_cast<std::ptrdiff_t>(i) * outer_step;
      Summary summary(kind, takes_last);
      for_each_row<1>(inner, {along}, [&](std::size_t, std::array<std::size_t, 1> first) {
        for (std::size_t j = 0; j < length; ++j)
          summary.add(x[static_cast<std::ptrdiff_t>(first[0]) + static_cast<std::ptrdiff_t>(j) * step]);
      });
      output[out + i] = summary.result();
    }
  });
}

}  // namespace nibble
