// SPDX-License-Identifier: Apache-2.0
//
// Operators that make one number of many, and norms.
#include <algorithm>
#include <numeric>

#include "net/onnx/node_view.h"

namespace nibble {
namespace {

using Kind = Reduce::Kind;

template <Kind kind, std::int64_t since>
void reduce(NodeView& n) {
  const NetValue& x = n.in(0);
  if (!is_floating(x.type) && nibble::numbers_of(x.shape) == 0)
    n.refuse("whole numbers or truths of which there are none");
  auto axes = n.axes(since, 1, x.rank());
  if (!axes || axes->empty()) {
    if (n.flag("noop_with_empty_axes")) return n.out(x);
    axes.emplace(x.rank());
    std::iota(axes->begin(), axes->end(), 0u);
  }
  if (x.rank() == 0) {  // of the one number that it is
    const NetValue one = n.pen().apply(Reduce{kind, {0}, false}, {n.pen().reshape(x, Extents{1})});
    return n.out(one);
  }
  n.out(n.pen().apply(Reduce{kind, *axes, n.flag("keepdims", true)}, {x}));
}

template <Kind kind>
void place(NodeView& n) {
  const NetValue& x = n.in(0);
  Reduce op{kind, {n.axis("axis", 0, x.rank())}, n.flag("keepdims", true), n.flag("select_last_index")};
  n.out(n.pen().apply(std::move(op), {x}, NumberType::i64));
}

template <Kind kind>
void global(NodeView& n) {
  const NetValue& x = n.in(0);
  if (x.rank() < 3) n.damaged("an input without height or width");
  std::vector<std::uint64_t> axes(x.rank() - 2);
  std::iota(axes.begin(), axes.end(), 2u);
  n.out(n.pen().apply(Reduce{kind, std::move(axes), true}, {x}));
}

template <bool is_logarithm>
void softmax(NodeView& n) {
  const NetValue& x = n.in(0);
  if (n.opset() >= 13) return n.out(n.pen().apply(Softmax{n.axis("axis", -1, x.rank()), is_logarithm}, {x}));
  // Along all dimensions from there on at once.
  const std::uint64_t axis = n.axis("axis", 1, x.rank(), true);
  if (axis + 1 == x.rank()) return n.out(n.pen().apply(Softmax{axis, is_logarithm}, {x}));
  Extents extents = {1, 1};
  for (std::uint64_t i = 0; i < x.rank(); ++i) extents[i < axis ? 0 : 1] *= x.extent(i);
  const NetValue flat = n.pen().apply(Softmax{1, is_logarithm}, {n.pen().reshape(x, extents)});
  n.out(n.pen().reshape(flat, x.shape));
}

void layer_norm(NodeView& n) {
  const NetValue& x = n.in(0);
  if (n.wants(1) || n.wants(2)) n.refuse("the mean or deviation as an output");
  LayerNorm op{"", false, n.axis("axis", -1, x.rank()), n.number("epsilon", 1e-5F)};
  const auto fits = [&](std::size_t input) {
    const Extents all = x.extents();
    return n.in(input).extents() == Extents(all.begin() + static_cast<std::ptrdiff_t>(op.axis), all.end());
  };
  const bool is_stored =
      n.has(1) && n.in(1).is_constant() && fits(1) && (!n.has(2) || (n.in(2).is_constant() && fits(2)));
  if (is_stored) {
    op.part = n.pen().part(n.part_name(1), n.numbers(1));
    op.has_bias = n.has(2);
    if (op.has_bias) n.pen().put(op.part + ".bias", n.numbers(2));
    return n.out(n.pen().apply(std::move(op), {x}));
  }
  NetValue y = n.pen().apply(std::move(op), {x});
  if (n.has(1)) y = n.pen().multiply(y, n.in(1));
  n.out(n.has(2) ? n.pen().add(y, n.in(2)) : y);
}

// Numbers of channels, along the second dimension of x.
NetValue by_channel(NodeView& n, const NetValue& numbers, std::size_t rank) {
  Extents extents(rank - 1, 1);
  extents[0] = nibble::numbers_of(numbers.shape);
  return n.pen().reshape(numbers, extents);
}

void instance_norm(NodeView& n) {
  const NetValue& x = n.in(0);
  if (x.rank() < 3) n.damaged("an input without height or width");
  const NetValue y = n.pen().apply(LayerNorm{"", false, 2, n.number("epsilon", 1e-5F)}, {x});
  n.out(n.pen().add(n.pen().multiply(y, by_channel(n, n.in(1), x.rank())), by_channel(n, n.in(2), x.rank())));
}

void group_norm(NodeView& n) {
  const NetValue& x = n.in(0);
  if (n.opset() < 21) n.refuse("gains by group, as before opset 21");
  const auto groups = static_cast<std::uint64_t>(n.whole("num_groups", 1, 1));
  if (x.rank() < 3 || nibble::numbers_of(x.shape) == 0 || x.extent(1) % groups != 0)
    n.damaged("channels that are not whole groups");
  const NetValue apart =
      n.pen().reshape(x, Extents{x.extent(0), groups, nibble::numbers_of(x.shape) / (x.extent(0) * groups)});
  const NetValue y =
      n.pen().reshape(n.pen().apply(LayerNorm{"", false, 2, n.number("epsilon", 1e-5F)}, {apart}), x.shape);
  n.out(n.pen().add(n.pen().multiply(y, by_channel(n, n.in(1), x.rank())), by_channel(n, n.in(2), x.rank())));
}

void batch_norm(NodeView& n) {
  const NetValue& x = n.in(0);
  if (n.flag("training_mode")) n.refuse("means of the batch, as in training");
  for (std::size_t i = 1; i < 5; ++i)
    if (n.wants(i)) n.refuse("means of the batch as outputs, as in training");
  if (x.rank() < 2) n.damaged("an input without channels");
  for (std::size_t i = 1; i < 5; ++i)
    if (n.in(i).extents() != Extents{x.extent(1)}) n.damaged("numbers of another number of channels");
  BatchNorm op{n.pen().part(n.part_name(1), n.numbers(1)), n.number("epsilon", 1e-5F)};
  n.pen().put(op.part + ".bias", n.numbers(2));
  n.pen().put(op.part + ".mean", n.numbers(3));
  n.pen().put(op.part + ".variance", n.numbers(4));
  n.out(n.pen().apply(std::move(op), {x}));
}

constexpr OnnxConverter kConverters[] = {{"ArgMax", place<Kind::argmax>},
                                         {"ArgMin", place<Kind::argmin>},
                                         {"BatchNormalization", batch_norm},
                                         {"GlobalAveragePool", global<Kind::mean>},
                                         {"GlobalMaxPool", global<Kind::maximum>},
                                         {"GroupNormalization", group_norm},
                                         {"InstanceNormalization", instance_norm},
                                         {"LayerNormalization", layer_norm},
                                         {"LogSoftmax", softmax<true>},
                                         {"ReduceL1", reduce<Kind::l1, 18>},
                                         {"ReduceL2", reduce<Kind::l2, 18>},
                                         {"ReduceLogSum", reduce<Kind::log_sum, 18>},
                                         {"ReduceLogSumExp", reduce<Kind::log_sum_exp, 18>},
                                         {"ReduceMax", reduce<Kind::maximum, 18>},
                                         {"ReduceMean", reduce<Kind::mean, 18>},
                                         {"ReduceMin", reduce<Kind::minimum, 18>},
                                         {"ReduceProd", reduce<Kind::product, 18>},
                                         {"ReduceSum", reduce<Kind::sum, 13>},
                                         {"ReduceSumSquare", reduce<Kind::sum_of_squares, 18>},
                                         {"Softmax", softmax<false>}};

}  // namespace

std::span<const OnnxConverter> reduction_converters() { return kConverters; }

}  // namespace nibble
