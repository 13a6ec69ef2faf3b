// SPDX-License-Identifier: Apache-2.0
//
// Operators that move numbers, and those that tell or make shapes.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "net/onnx/constants.h"
#include "net/onnx/node_view.h"

namespace nibble {
namespace {

Extents to_extents(NodeView& n, const std::vector<std::int64_t>& numbers) {
  Extents extents;
  for (const std::int64_t one : numbers) {
    if (one < 0 || one > static_cast<std::int64_t>(kMostNumbers)) n.damaged("an extent that no value has");
    extents.push_back(static_cast<std::uint64_t>(one));
  }
  return extents;
}

void identity(NodeView& n) { n.out(n.in(0)); }

void dropout(NodeView& n) {
  if (n.has(2) && n.single(2) != 0) n.refuse("numbers that are left out at random, as in training");
  if (n.wants(1)) n.refuse("the mask of what is left out");
  n.out(n.in(0));
}

void constant_of_shape(NodeView& n) {
  const Extents extents = to_extents(n, n.whole_numbers(0));
  const auto* const said = n.node().find<OnnxInitializer>("value");
  const NetValue value = said == nullptr ? n.pen().number(0) : n.pen().constant(OnnxConstants({}).read(*said, "value"));
  if (nibble::numbers_of(value.shape) != 1) n.damaged("a value that is not one number");
  const NetValue flat = n.pen().reshape(value, Extents{1});
  n.out(n.pen().apply(Expand{named(extents)}, {flat}, flat.type));
  if (extents.empty()) n.out(n.pen().reshape(flat, Extents{}));
}

void shape(NodeView& n) {
  const NetValue& x = n.in(0);
  const auto rank = static_cast<std::int64_t>(x.rank());
  const auto bound = [&](std::int64_t at) { return std::clamp(at < 0 ? at + rank : at, std::int64_t{0}, rank); };
  const std::int64_t first = bound(n.whole("start", 0, -64, 64)), end = bound(n.whole("end", rank, -64, 1 << 20));
  std::vector<std::int64_t> extents;
  for (std::int64_t i = first; i < end; ++i)
    extents.push_back(static_cast<std::int64_t>(x.extent(static_cast<std::size_t>(i))));
  const std::uint64_t count = extents.size();
  n.out(n.pen().integers(std::move(extents), {count}));
}

void size(NodeView& n) { n.out(n.pen().integers({static_cast<std::int64_t>(nibble::numbers_of(n.in(0).shape))}, {})); }

void reshape(NodeView& n) {
  const NetValue& x = n.in(0);
  const std::vector<std::int64_t> wanted = n.whole_numbers(1);
  const bool zero_is_zero = n.flag("allowzero");
  Extents extents;
  std::optional<std::size_t> open;
  std::uint64_t known = 1;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    std::uint64_t extent = 1;
    if (wanted[i] == -1 && !open)
      open = i;
    else if (wanted[i] == 0 && !zero_is_zero && i < x.rank())
      extent = x.extent(i);
    else if (wanted[i] >= 0 && (wanted[i] != 0 || zero_is_zero))
      extent = static_cast<std::uint64_t>(wanted[i]);
    else
      n.damaged("a shape that is none");
    if (extent > kMostNumbers || (extent != 0 && known > kMostNumbers / extent))
      n.damaged("a shape of too many numbers");
    known *= extent;
    extents.push_back(extent);
  }
  if (open) {
    const std::uint64_t numbers = nibble::numbers_of(x.shape);
    if (known == 0 || numbers % known != 0) n.damaged("a shape of another number of numbers");
    extents[*open] = numbers / known;
  }
  n.out(n.pen().reshape(x, extents));
}

void flatten(NodeView& n) {
  const NetValue& x = n.in(0);
  const std::uint64_t axis = n.axis("axis", 1, x.rank(), true);
  Extents extents = {1, 1};
  for (std::uint64_t i = 0; i < x.rank(); ++i) extents[i < axis ? 0 : 1] *= x.extent(i);
  n.out(n.pen().reshape(x, extents));
}

void squeeze(NodeView& n) {
  const NetValue& x = n.in(0);
  const auto axes = n.axes(13, 1, x.rank());
  Dimensions shape;
  for (std::uint64_t i = 0; i < x.rank(); ++i) {
    const bool is_named = axes && std::ranges::binary_search(*axes, i);
    if (is_named && x.extent(i) != 1) n.damaged("a dimension that is not of extent 1 cannot be dropped");
    if (axes ? !is_named : x.extent(i) != 1) shape.push_back(x.shape[i]);
  }
  n.out(n.pen().reshape(x, extents_of(shape)));
}

void unsqueeze(NodeView& n) {
  const NetValue& x = n.in(0);
  const auto said = n.opset() < 13 ? n.wholes("axes") : std::optional(n.whole_numbers(1));
  if (!said) n.damaged("its axes are missing");
  const std::size_t rank = x.rank() + said->size();
  std::vector<std::uint64_t> axes;
  for (const std::int64_t one : *said) axes.push_back(n.axis(one, rank));
  std::ranges::sort(axes);
  if (std::ranges::adjacent_find(axes) != axes.end()) n.damaged("a dimension is named twice");
  Extents extents = x.extents();
  for (const std::uint64_t axis : axes) extents.insert(extents.begin() + static_cast<std::ptrdiff_t>(axis), 1);
  n.out(n.pen().reshape(x, extents));
}

void transpose(NodeView& n) {
  const NetValue& x = n.in(0);
  std::vector<std::uint64_t> order(x.rank());
  std::iota(order.rbegin(), order.rend(), 0u);
  if (const auto said = n.wholes("perm")) {
    order.clear();
    for (const std::int64_t one : *said) order.push_back(n.axis(one, x.rank()));
  }
  n.out(n.pen().transpose(x, std::move(order)));
}

void concat(NodeView& n) {
  std::vector<NetValue> inputs;
  for (std::size_t i = 0; i < n.num_inputs(); ++i) inputs.push_back(n.in(i));
  if (inputs.empty()) n.damaged("it has no inputs");
  const std::uint64_t axis = n.axis("axis", 1, inputs[0].rank());
  if (inputs.size() == 1) return n.out(inputs[0]);
  n.out(n.pen().apply(Concat{axis}, inputs));
}

void split(NodeView& n) {
  const NetValue& x = n.in(0);
  const std::uint64_t axis = n.axis("axis", 0, x.rank()), outputs = n.node().outputs.size();
  if (outputs == 0) n.damaged("it has no outputs");
  std::optional<std::vector<std::int64_t>> said;
  if (n.opset() < 13)
    said = n.wholes("split");
  else if (n.has(1))
    said = n.whole_numbers(1);
  Extents lengths;
  if (said) {
    lengths = to_extents(n, *said);
  } else {
    const std::uint64_t length = (x.extent(axis) + outputs - 1) / outputs;
    for (std::uint64_t i = 0, left = x.extent(axis); i < outputs; ++i) {
      lengths.push_back(std::min(length, left));
      left -= lengths.back();
    }
  }
  if (lengths.size() != outputs || std::accumulate(lengths.begin(), lengths.end(), std::uint64_t{0}) != x.extent(axis))
    n.damaged("its parts are not the whole");
  std::uint64_t begin = 0;
  for (std::size_t i = 0; i < outputs; begin += lengths[i++])
    if (n.wants(i)) n.out(n.pen().slice(x, axis, begin, lengths[i]), i);
}

void slice(NodeView& n) {
  const NetValue& x = n.in(0);
  std::optional<std::vector<std::int64_t>> begins, ends, said_axes, steps;
  if (n.opset() < 10) {
    begins = n.wholes("starts");
    ends = n.wholes("ends");
    said_axes = n.wholes("axes");
  } else {
    begins = n.whole_numbers(1);
    ends = n.whole_numbers(2);
    if (n.has(3)) said_axes = n.whole_numbers(3);
    if (n.has(4)) steps = n.whole_numbers(4);
  }
  if (!begins || !ends || begins->size() != ends->size() || (said_axes && said_axes->size() != begins->size()) ||
      (steps && steps->size() != begins->size()))
    n.damaged("beginnings, ends, dimensions and steps are not as many");
  StridedSlice op{Extents(x.rank(), 0), x.extents(), std::vector<std::int64_t>(x.rank(), 1)};
  for (std::size_t i = 0; i < begins->size(); ++i) {
    const std::uint64_t axis = n.axis(said_axes ? (*said_axes)[i] : static_cast<std::int64_t>(i), x.rank());
    const std::int64_t step = steps ? (*steps)[i] : 1, extent = static_cast<std::int64_t>(x.extent(axis));
    if (step == 0) n.damaged("a step of 0");
    const auto bound = [&](std::int64_t at) {
      if (at < 0) at = at < -extent ? -1 : at + extent;
      return step > 0 ? std::clamp(at, std::int64_t{0}, extent) : std::clamp(at, std::int64_t{-1}, extent - 1);
    };
    std::int64_t first = bound((*begins)[i]), end = bound((*ends)[i]);
    const std::int64_t span = step > 0 ? end - first : first - end;
    const std::int64_t stride = step > 0 ? step : (step < -extent ? extent + 1 : -step);
    const std::int64_t count = span <= 0 ? 0 : (span - 1) / stride + 1;
    op.begin[axis] = count == 0 ? 0 : static_cast<std::uint64_t>(first);
    op.count[axis] = static_cast<std::uint64_t>(count);
    op.step[axis] = count <= 1 ? 1 : step;
  }
  const bool takes_all = op.count == x.extents() && std::ranges::all_of(op.step, [](std::int64_t s) { return s == 1; });
  n.out(takes_all ? x : n.pen().apply(std::move(op), {x}));
}

void gather(NodeView& n) {
  const NetValue &x = n.in(0), &places = n.in(1);
  const std::uint64_t axis = n.axis("axis", 0, x.rank());
  if (places.is_constant())
    for (const std::int64_t place : n.whole_numbers(1)) {
      const auto extent = static_cast<std::int64_t>(x.extent(axis));
      if (place < -extent || place >= extent) n.damaged("a place that is not there");
    }
  n.out(n.pen().apply(Gather{axis}, {x, places}));
}

void expand(NodeView& n) {
  const Extents extents = to_extents(n, n.whole_numbers(1));
  n.out(n.pen().apply(Expand{named(extents)}, {n.in(0)}));
}

void tile(NodeView& n) {
  const NetValue& x = n.in(0);
  const Extents times = to_extents(n, n.whole_numbers(1));
  if (times.size() != x.rank()) n.damaged("repetitions of another number of dimensions");
  Extents split, spread, joined;
  for (std::size_t i = 0; i < times.size(); ++i) {
    split.insert(split.end(), {1, x.extent(i)});
    spread.insert(spread.end(), {times[i], x.extent(i)});
    joined.push_back(times[i] * x.extent(i));
  }
  if (times.empty()) return n.out(x);
  const NetValue apart = n.pen().reshape(x, split);
  n.out(n.pen().reshape(n.pen().apply(Expand{named(spread)}, {apart}), joined));
}

void pad(NodeView& n) {
  const NetValue& x = n.in(0);
  const std::string mode = n.text("mode", "constant");
  Pad op;
  if (mode == "reflect")
    op.kind = Pad::Kind::reflect;
  else if (mode == "edge")
    op.kind = Pad::Kind::edge;
  else if (mode == "wrap")
    op.kind = Pad::Kind::wrap;
  else if (mode != "constant")
    n.damaged("a way to pad that is not known: " + mode);
  const auto said = n.opset() < 11 ? n.wholes("pads") : std::optional(n.whole_numbers(1));
  op.value = n.number("value", 0);
  if (n.opset() >= 11 && n.has(2)) op.value = n.single(2);
  const auto axes = n.axes(0, 3, x.rank());
  const std::size_t count = axes ? axes->size() : x.rank();
  if (!said || said->size() != 2 * count) n.damaged("pads of another number of dimensions");
  op.before.assign(x.rank(), 0);
  op.behind.assign(x.rank(), 0);
  StridedSlice kept{Extents(x.rank(), 0), x.extents(), std::vector<std::int64_t>(x.rank(), 1)};
  const std::vector<std::int64_t> order = axes && n.has(3) ? n.whole_numbers(3) : std::vector<std::int64_t>{};
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t axis = axes ? n.axis(order[i], x.rank()) : i;
    const std::int64_t before = (*said)[i], behind = (*said)[i + count];
    if (std::max(before, behind) > static_cast<std::int64_t>(kMostNumbers)) n.damaged("a pad that is too large");
    const auto extent = static_cast<std::int64_t>(x.extent(axis));
    const std::int64_t first = before < 0 ? -std::max(before, -extent) : 0,
                       last = behind < 0 ? -std::max(behind, -extent) : 0;
    if (first + last > extent) n.damaged("pads that leave nothing");
    kept.begin[axis] = first == extent ? 0 : static_cast<std::uint64_t>(first);
    kept.count[axis] = static_cast<std::uint64_t>(extent - first - last);
    op.before[axis] = static_cast<std::uint64_t>(std::max<std::int64_t>(before, 0));
    op.behind[axis] = static_cast<std::uint64_t>(std::max<std::int64_t>(behind, 0));
  }
  const NetValue part = kept.count == x.extents() ? x : n.pen().apply(std::move(kept), {x});
  const auto is_none = [](const Extents& pads) {
    return std::ranges::all_of(pads, [](std::uint64_t p) { return p == 0; });
  };
  n.out(is_none(op.before) && is_none(op.behind) ? part : n.pen().apply(std::move(op), {part}));
}

void depth_to_space(NodeView& n) {
  const NetValue& x = n.in(0);
  const auto block = static_cast<std::uint64_t>(n.whole("blocksize", 1, 1, 4096));
  if (x.rank() != 4 || x.extent(1) % (block * block) != 0) n.damaged("channels that are not whole blocks");
  const std::uint64_t batch = x.extent(0), channels = x.extent(1) / (block * block), height = x.extent(2),
                      width = x.extent(3);
  const bool is_row_last = n.text("mode", "DCR") == "CRD";
  const NetValue apart = n.pen().reshape(x, is_row_last ? Extents{batch, channels, block, block, height, width}
                                                        : Extents{batch, block, block, channels, height, width});
  const NetValue turned = n.pen().transpose(apart, is_row_last ? Extents{0, 1, 4, 2, 5, 3} : Extents{0, 3, 4, 1, 5, 2});
  n.out(n.pen().reshape(turned, Extents{batch, channels, height * block, width * block}));
}

void space_to_depth(NodeView& n) {
  const NetValue& x = n.in(0);
  const auto block = static_cast<std::uint64_t>(n.whole("blocksize", 1, 1, 4096));
  if (x.rank() != 4 || x.extent(2) % block != 0 || x.extent(3) % block != 0)
    n.damaged("a height or width that is not whole blocks");
  const std::uint64_t batch = x.extent(0), channels = x.extent(1), height = x.extent(2) / block,
                      width = x.extent(3) / block;
  const NetValue apart = n.pen().reshape(x, Extents{batch, channels, height, block, width, block});
  n.out(n.pen().reshape(
      n.pen().transpose(apart, n.text("mode", "DCR") == "CRD" ? Extents{0, 1, 3, 5, 2, 4} : Extents{0, 3, 5, 1, 2, 4}),
      Extents{batch, channels * block * block, height, width}));
}

void range(NodeView& n) {
  const double first = static_cast<double>(n.single(0)), end = static_cast<double>(n.single(1)),
               step = static_cast<double>(n.single(2));
  const double count = step == 0 ? -1 : std::max(0.0, std::ceil((end - first) / step));
  if (!(count >= 0 && count <= static_cast<double>(1 << 24))) n.damaged("a range without end");
  NetConstant made{n.in(0).type, {static_cast<std::uint64_t>(count)}};
  for (std::uint64_t i = 0; i < made.extents[0]; ++i) {
    const double at = first + static_cast<double>(i) * step;
    if (is_floating(made.type))
      made.numbers.push_back(static_cast<float>(at));
    else
      made.integers.push_back(static_cast<std::int64_t>(at));
  }
  n.out(n.pen().constant(std::move(made)));
}

constexpr OnnxConverter kConverters[] = {{"Concat", concat},
                                         {"ConstantOfShape", constant_of_shape},
                                         {"DepthToSpace", depth_to_space},
                                         {"Dropout", dropout},
                                         {"Expand", expand},
                                         {"Flatten", flatten},
                                         {"Gather", gather},
                                         {"Identity", identity},
                                         {"Pad", pad},
                                         {"Range", range},
                                         {"Reshape", reshape},
                                         {"Shape", shape},
                                         {"Size", size},
                                         {"Slice", slice},
                                         {"SpaceToDepth", space_to_depth},
                                         {"Split", split},
                                         {"Squeeze", squeeze},
                                         {"Tile", tile},
                                         {"Transpose", transpose},
                                         {"Unsqueeze", unsqueeze}};

}  // namespace

std::span<const OnnxConverter> layout_converters() { return kConverters; }

}  // namespace nibble
