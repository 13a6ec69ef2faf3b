// SPDX-License-Identifier: Apache-2.0
//
// What moves numbers, and what makes one of many.
#include <algorithm>
#include <cmath>

#include "io/tflite/tflite_codes.h"
#include "net/tflite/tflite_speller.h"

namespace nibble {

void TfliteSpeller::spell_reshape(const Site& site) {
  set(site.made, ValueOrder::drawn,
      draft_.reshape(in(site, 0, ValueOrder::drawn), extents(site.made), name_of(site.made)));
}

// Between the orders in which both lie; where that is no move at all, they are one tensor.
void TfliteSpeller::spell_transpose(const Site& site, const Transpose& op) {
  const ValueId input = site.node.inputs[0];
  const ValueOrder to = orders_[site.made], from = orders_[input];
  const std::size_t rank = op.order.size();
  std::vector<std::uint64_t> moves;
  for (const std::uint64_t dimension : dimensions_of(to, rank))
    moves.push_back(place_of(from, rank, op.order[dimension]));
  const int x = in(site, 0, from);
  set(site.made, to, std::ranges::is_sorted(moves) ? x : draft_.transpose(x, moves, name_of(site.made)));
}

void TfliteSpeller::spell_concat(const Site& site, const Concat& op) {
  const ValueOrder order = orders_[site.made];
  std::vector<int> inputs;
  for (std::size_t i = 0; i < site.node.inputs.size(); ++i) inputs.push_back(in(site, i, order));
  TfliteOptions options;
  options.axis = static_cast<std::int64_t>(place_of(order, extents(site.made).size(), op.axis));
  make(site, tflite_code::kConcatenation, std::move(inputs), order, options);
}

void TfliteSpeller::spell_pad(const Site& site, const Pad& op) {
  const ValueOrder order = orders_[site.made];
  std::vector<std::uint64_t> pads;
  for (const std::uint64_t dimension : dimensions_of(order, op.before.size())) {
    pads.push_back(op.before[dimension]);
    pads.push_back(op.behind[dimension]);
  }
  std::vector<int> inputs = {in(site, 0, order), draft_.whole_numbers(pads, {op.before.size(), 2})};
  switch (op.kind) {
    case Pad::Kind::reflect:
      return make(site, tflite_code::kMirrorPad, std::move(inputs), order);
    case Pad::Kind::edge:
    case Pad::Kind::wrap:
      refuse("pads that repeat the edge, or go on at the other end");
    case Pad::Kind::constant:
      break;
  }
  if (op.value == 0) return make(site, tflite_code::kPad, std::move(inputs), order);
  inputs.push_back(number(op.value));
  make(site, tflite_code::kPadV2, std::move(inputs), order);
}

void TfliteSpeller::spell_slice(const Site& site, std::span<const std::uint64_t> begin,
                                std::span<const std::uint64_t> count, std::span<const std::int64_t> step) {
  const ValueOrder order = orders_[site.made];
  std::vector<std::uint64_t> first, last, steps;
  for (const std::uint64_t dimension : dimensions_of(order, begin.size())) {
    if (step[dimension] < 1) refuse("steps backwards");
    const auto stride = static_cast<std::uint64_t>(step[dimension]);
    first.push_back(begin[dimension]);
    last.push_back(begin[dimension] + (count[dimension] - 1) * stride + 1);
    steps.push_back(stride);
  }
  make(site, tflite_code::kStridedSlice,
       {in(site, 0, order), draft_.whole_numbers(first), draft_.whole_numbers(last), draft_.whole_numbers(steps)},
       order);
}

void TfliteSpeller::spell_gather(const Site& site, const Gather& op) {
  const Constant* const constant = spelling_.constant_of(site.node.inputs[1]);
  if (constant == nullptr) refuse("places that are known only when the net runs");
  const std::uint64_t extent = extents(site.node.inputs[0])[op.axis];
  std::vector<std::uint64_t> places;
  for (const float place : net_.weight(constant->part))
    places.push_back(static_cast<std::uint64_t>(place < 0 ? place + static_cast<float>(extent) : place));
  const Extents shape = extents(site.node.inputs[1]);
  TfliteOptions options;
  options.axis = static_cast<std::int64_t>(op.axis);
  if (shape.empty()) {
    const Extents x = extents(site.node.inputs[0]);
    std::vector<std::uint64_t> begin(x.size(), 0), end = x;
    begin[op.axis] = places[0];
    end[op.axis] = places[0] + 1;
    Extents one = x;
    one[op.axis] = 1;
    const int taken = step(site, tflite_code::kStridedSlice,
                           {in(site, 0, ValueOrder::drawn), draft_.whole_numbers(begin), draft_.whole_numbers(end),
                            draft_.whole_numbers(std::vector<std::uint64_t>(x.size(), 1))},
                           one);
    return set(site.made, ValueOrder::drawn, draft_.reshape(taken, extents(site.made), name_of(site.made)));
  }
  make(site, tflite_code::kGather, {in(site, 0, ValueOrder::drawn), draft_.whole_numbers(places, shape)},
       ValueOrder::drawn, options);
}

void TfliteSpeller::spell_resize(const Site& site, const Resize& op) {
  const Extents x = extents(site.node.inputs[0]), y = extents(site.made);
  if (x.size() != 4 || x[0] != y[0] || x[1] != y[1]) refuse("other dimensions than height and width");
  if (op.kind == Resize::Kind::cubic || op.leaves_out_outside) refuse("this way to weigh neighbours");
  TfliteOptions options;
  options.aligns_corners = op.places == Resize::Places::align_corners;
  options.centres_half_pixels =
      op.places == Resize::Places::half_pixel || op.places == Resize::Places::half_pixel_or_zero;
  for (std::size_t i = 2; i < 4; ++i) {
    const float scale = static_cast<float>(y[i]) / static_cast<float>(x[i]);
    if (std::abs(op.scales[i] - scale) > 1e-5F * scale) refuse("scales that are not those of the extents");
    if (op.kind != Resize::Kind::nearest) continue;
    // There a place is rounded down, or with corners aligned to the nearest: the same but at halves.
    const bool is_down = op.rounding == Resize::Rounding::down || op.rounding == Resize::Rounding::down_at_half;
    for (std::uint64_t j = 0; j < y[i]; ++j) {
      const double shift = options.centres_half_pixels ? 0.5 : 0;
      const double place = (static_cast<double>(j) + shift) * static_cast<double>(x[i]) / static_cast<double>(y[i]);
      const bool is_whole = place == std::floor(place);
      if (options.aligns_corners || (options.centres_half_pixels && is_whole && is_down) ||
          (!options.centres_half_pixels && op.rounding != Resize::Rounding::down && !is_whole))
        refuse("this way to round places");
      if (options.centres_half_pixels && op.rounding != Resize::Rounding::down_at_half &&
          op.rounding != Resize::Rounding::up_at_half)
        refuse("this way to round places");
    }
  }
  const std::vector<std::uint64_t> to = {y[2], y[3]};
  make(site, op.kind == Resize::Kind::nearest ? tflite_code::kResizeNearest : tflite_code::kResizeBilinear,
       {in(site, 0, ValueOrder::channels_last), draft_.whole_numbers(to)}, ValueOrder::channels_last, options);
}

void TfliteSpeller::spell_reduce(const Site& site, const Reduce& op) {
  using namespace tflite_code;
  int code = -1;
  if (op.kind == Reduce::Kind::mean) code = kMean;
  if (op.kind == Reduce::Kind::sum) code = kSum;
  if (op.kind == Reduce::Kind::maximum) code = kReduceMax;
  if (op.kind == Reduce::Kind::minimum) code = kReduceMin;
  if (op.kind == Reduce::Kind::product) code = kReduceProduct;
  if (code < 0) refuse("this reduction");
  const std::size_t rank = extents(site.node.inputs[0]).size();
  // Without dimensions over places what is left lies as it is drawn.
  const bool takes_places = op.axes.size() + 2 == rank && op.axes.front() == 2;
  const ValueOrder from = op.keeps_dimensions ? orders_[site.made]
                          : takes_places      ? orders_[site.node.inputs[0]]
                                              : ValueOrder::drawn;
  TfliteOptions options;
  options.keeps_dimensions = op.keeps_dimensions;
  make(site, code, {in(site, 0, from), draft_.whole_numbers(place_all(op.axes, from, rank))},
       op.keeps_dimensions ? from : ValueOrder::drawn, options);
}

void TfliteSpeller::spell_softmax(const Site& site, const Softmax& op) {
  const std::size_t rank = extents(site.made).size();
  if (op.is_logarithm) refuse("its logarithm");
  const auto is_last = [&](ValueOrder order) { return place_of(order, rank, op.axis) + 1 == rank; };
  const ValueOrder order = is_last(ValueOrder::drawn) ? ValueOrder::drawn : ValueOrder::channels_last;
  if (!is_last(order)) refuse("a dimension that is not the last");
  make(site, tflite_code::kSoftmax, {in(site, 0, order)}, order);
}

}  // namespace nibble
