// SPDX-License-Identifier: Apache-2.0
//
// Convolutions, products of matrices and poolings.
#include <algorithm>
#include <limits>

#include "io/tflite/tflite_codes.h"
#include "net/tflite/tflite_speller.h"

namespace nibble {
namespace {

// What a window sees before and behind the numbers of a dimension, and how many places it has.
struct Reach {
  std::uint64_t places = 0, before = 0, behind = 0;
  bool is_same = false;  // as "same" pads
};

Reach reach_of(const Window& window, std::size_t dimension, std::uint64_t extent, bool rounds_up) {
  const std::uint64_t stride = window.strides[dimension],
                      seen = (window.taps[dimension] - 1) * window.dilations[dimension] + 1;
  Reach reach{window.places(dimension, extent, rounds_up, "pooling"), window.before[dimension]};
  const std::uint64_t end = (reach.places - 1) * stride + seen;  // counted from the pads' first
  reach.behind = end > reach.before + extent ? end - reach.before - extent : 0;
  const std::uint64_t needed = end > extent ? end - extent : 0;
  reach.is_same = reach.places == (extent + stride - 1) / stride && reach.before == needed / 2 &&
                  reach.before + reach.behind == needed;
  return reach;
}

template <class T>
std::vector<T> turned(std::span<const T> numbers, const Extents& shape, std::span<const std::uint64_t> order) {
  Extents made;
  for (const std::uint64_t one : order) made.push_back(shape[one]);
  const std::vector<std::ptrdiff_t> from = row_major(shape);
  Strided strided;
  for (const std::uint64_t one : order) strided.strides.push_back(from[one]);
  std::vector<T> out(numbers.size());
  for_each_row<1>(made, {strided}, [&](std::size_t row, std::array<std::size_t, 1> at) {
    for (std::size_t i = 0; i < made.back(); ++i)
      out[row + i] = numbers[at[0] + i * static_cast<std::size_t>(strided.strides.back())];
  });
  return out;
}

}  // namespace

// In codes where they are stored so; for an operator of floats behind a Dequantize. order: dimensions of the part as
// they lie in the tensor, which `lying` then splits or joins. dimension: of the tensor, that of the scales.
int TfliteSpeller::weights(const Site& site, const std::string& part, const Extents& shape,
                           std::span<const std::uint64_t> order, const Extents& lying, std::uint64_t dimension) {
  const auto coded = codes_.find(part);
  if (coded == codes_.end() || coded->second.bits != 8)
    return draft_.numbers(part, turned(net_.weight(part), shape, order), lying);
  const int codes = draft_.codes(part, turned(std::span<const std::int8_t>(coded->second.codes), shape, order), lying,
                                 coded->second.stored_scales(), dimension);
  if (site.is_coded()) return codes;
  return draft_.apply(tflite_code::kDequantize, {codes}, part + "/float", lying, TfliteKind{});
}

int TfliteSpeller::bias(const Site& site, const std::string& part, const std::string& bias, std::uint64_t outputs) {
  if (!site.is_coded()) {
    if (!bias.empty()) return draft_.numbers(bias, net_.weight(bias), {outputs});
    return draft_.numbers("zeros", std::vector<float>(outputs, 0), {outputs});
  }
  const float scale = spelling_.grid_of(*spelling_.quantize_of(site.node.inputs[0]))->scale;
  const std::span<const float> stored = codes_.at(part).stored_scales();
  std::vector<float> scales(stored.begin(), stored.end());
  for (float& one : scales) one *= scale;
  return draft_.biases(bias.empty() ? part + ".bias" : bias, spelling_.whole_biases(part, bias, scale, outputs),
                       scales);
}

// The input as [batch, rows, cols, channels], with pads where no kind of pads of the format is meant. pad: with what;
// nothing: that is refused.
TfliteSpeller::Windowed TfliteSpeller::windowed(const Site& site, const Window& window, bool rounds_up,
                                                std::optional<float> pad, bool counts_pads) {
  const ValueId input = site.node.inputs[0];
  Windowed made{in(site, 0, ValueOrder::channels_last), {}, {}};
  Extents shape = lying(input, ValueOrder::channels_last);
  if (window.rank() > 2) refuse("windows over three dimensions");
  const bool is_row = window.rank() == 1;
  if (is_row) {
    shape.insert(shape.begin() + 1, 1);
    made.x = draft_.reshape(made.x, shape, name_of(input) + "/row");
  }
  Reach rows{.places = 1, .is_same = true}, cols;
  if (!is_row) rows = reach_of(window, 0, shape[1], rounds_up);
  cols = reach_of(window, window.rank() - 1, shape[2], rounds_up);
  const bool has_pads = rows.before + rows.behind + cols.before + cols.behind > 0;
  made.options.pads = has_pads && rows.is_same && cols.is_same && !counts_pads;
  made.options.stride_h = is_row ? 1 : window.strides[0];
  made.options.stride_w = window.strides.back();
  made.options.dilation_h = is_row ? 1 : window.dilations[0];
  made.options.dilation_w = window.dilations.back();
  made.options.filter_h = is_row ? 1 : window.taps[0];
  made.options.filter_w = window.taps.back();
  made.made = {shape[0], rows.places, cols.places, 0};
  if (!has_pads || made.options.pads) return made;
  if (!pad) refuse("pads that are not counted, and are not spread evenly");
  const std::vector<std::uint64_t> pads = {0, 0, rows.before, rows.behind, cols.before, cols.behind, 0, 0};
  const int pairs = draft_.whole_numbers(pads, {4, 2});
  shape[1] += rows.before + rows.behind;
  shape[2] += cols.before + cols.behind;
  if (*pad == 0) {
    made.x = step(site, tflite_code::kPad, {made.x, pairs}, shape);
    return made;
  }
  const TfliteKind kind = draft_.kind(made.x);
  const std::int8_t lowest = -128;
  const int least = site.is_coded() ? draft_.codes("lowest", std::span(&lowest, 1), {}, std::span(&kind.grid->scale, 1),
                                                   0, kind.grid->zero)
                                    : number(*pad);
  made.x = step(site, tflite_code::kPadV2, {made.x, pairs, least}, shape);
  return made;
}

void TfliteSpeller::make_windowed(const Site& site, int code, std::vector<int> inputs, const Windowed& over,
                                  std::uint64_t channels) {
  if (extents(site.made).size() == 4)
    return make(site, code, std::move(inputs), ValueOrder::channels_last, over.options);
  TfliteOptions options = over.options;
  options.activation = site.activation;
  Extents shape = over.made;
  shape[3] = channels;
  const int row = draft_.apply(code, std::move(inputs), name_of(site.made) + "/row", shape, site.kind, options);
  const Extents made = lying(site.made, ValueOrder::channels_last);
  set(site.made, ValueOrder::channels_last, draft_.reshape(row, made, name_of(site.made)));
}

void TfliteSpeller::spell_convolution(const Site& site, const Convolution& op) {
  const Windowed over = windowed(site, op.window, false, 0.0F);
  const std::uint64_t channels = extents(site.node.inputs[0])[1], depth = channels / op.groups;
  const bool is_depthwise = op.groups == channels && op.groups > 1;
  const std::uint64_t rows = op.window.rank() == 1 ? 1 : op.window.taps[0], cols = op.window.taps.back();
  const Extents shape = {op.outputs, depth, rows, cols};
  const std::vector<std::uint64_t> order =
      is_depthwise ? std::vector<std::uint64_t>{1, 2, 3, 0} : std::vector<std::uint64_t>{0, 2, 3, 1};
  const Extents lies = is_depthwise ? Extents{1, rows, cols, op.outputs} : Extents{op.outputs, rows, cols, depth};
  const int w = weights(site, op.part, shape, order, lies, is_depthwise ? 3 : 0);
  const int code = is_depthwise ? tflite_code::kDepthwiseConvolution : tflite_code::kConvolution;
  make_windowed(site, code, {over.x, w, bias(site, op.part, op.bias(), op.outputs)}, over, op.outputs);
}

// All that it makes, of which pads are cut off.
void TfliteSpeller::spell_transposed(const Site& site, const TransposedConvolution& op) {
  const Extents x = extents(site.node.inputs[0]);
  if (op.groups != 1) refuse("groups of channels");
  const bool is_row = op.window.rank() == 1;
  if (std::ranges::any_of(op.window.dilations, [](std::uint64_t step) { return step != 1; })) refuse("dilations");
  const std::uint64_t rows = is_row ? 1 : op.window.taps[0], cols = op.window.taps.back();
  int from = floats(site.node.inputs[0], ValueOrder::channels_last);
  if (is_row) from = draft_.reshape(from, {x[0], 1, x[2], x[1]}, name_of(site.node.inputs[0]) + "/row");
  TfliteOptions options;
  options.pads = false;
  options.stride_h = is_row ? 1 : op.window.strides[0];
  options.stride_w = op.window.strides.back();
  const std::uint64_t height = is_row ? 1 : (x[2] - 1) * op.window.strides[0] + rows,
                      width = (x.back() - 1) * op.window.strides.back() + cols;
  const Extents full = {x[0], height, width, op.outputs}, drawn = extents(site.made);
  const std::uint64_t top = is_row ? 0 : op.window.before[0], left = op.window.before.back();
  const Extents cut = {x[0], is_row ? 1 : drawn[2], drawn.back(), op.outputs};
  if (top + cut[1] > full[1] || left + cut[2] > full[2]) refuse("places behind the last that is reached");
  const std::vector<std::uint64_t> order = {1, 2, 3, 0};
  const int w = weights(site, op.part, {x[1], op.outputs, rows, cols}, order, {op.outputs, rows, cols, x[1]}, 3);
  int y = draft_.apply(tflite_code::kTransposeConvolution,
                       {draft_.whole_numbers(full), w, from, bias(site, op.part, op.bias(), op.outputs)},
                       name_of(site.made) + "/whole", full, TfliteKind{}, options);
  if (full != cut) {
    const std::vector<std::uint64_t> begin = {0, top, left, 0}, steps(4, 1);
    std::vector<std::uint64_t> end;
    for (std::size_t i = 0; i < 4; ++i) end.push_back(begin[i] + cut[i]);
    y = draft_.apply(tflite_code::kStridedSlice,
                     {y, draft_.whole_numbers(begin), draft_.whole_numbers(end), draft_.whole_numbers(steps)},
                     name_of(site.made), cut, TfliteKind{});
  }
  if (is_row) y = draft_.reshape(y, lying(site.made, ValueOrder::channels_last), name_of(site.made));
  set(site.made, ValueOrder::channels_last, y);
}

void TfliteSpeller::spell_linear(const Site& site, const Linear& op) {
  const Extents x = extents(site.node.inputs[0]);
  TfliteOptions options;
  options.keeps_dimensions = x.size() != 2;
  if (x.empty()) refuse("one number");
  const std::vector<std::uint64_t> order = {0, 1};
  const Extents shape = {op.rows, x.back()};
  const int w = weights(site, op.part, shape, order, shape, 0);
  make(site, tflite_code::kFullyConnected, {in(site, 0, ValueOrder::drawn), w, bias(site, op.part, op.bias(), op.rows)},
       ValueOrder::drawn, options);
}

void TfliteSpeller::spell_matrix_product(const Site& site) {
  const Extents a = extents(site.node.inputs[0]), b = extents(site.node.inputs[1]);
  if (a.size() < 2 || b.size() < 2) refuse("a vector");
  make(site, tflite_code::kBatchMatmul, {in(site, 0, ValueOrder::drawn), in(site, 1, ValueOrder::drawn)},
       ValueOrder::drawn);
}

void TfliteSpeller::spell_pooling(const Site& site, const Pooling& op) {
  if (std::ranges::any_of(op.window.dilations, [](std::uint64_t step) { return step != 1; })) refuse("dilations");
  const bool is_maximum = op.kind == Pooling::Kind::maximum;
  std::optional<float> pad;
  if (is_maximum) pad = std::numeric_limits<float>::lowest();
  if (!is_maximum && op.counts_pads) pad = 0;
  if (op.counts_pads && op.rounds_up) refuse("pads that are counted, and windows that are not whole");
  const Windowed over = windowed(site, op.window, op.rounds_up, pad, !is_maximum && op.counts_pads);
  make_windowed(site, is_maximum ? tflite_code::kMaxPool : tflite_code::kAveragePool, {over.x}, over,
                extents(site.node.inputs[0])[1]);
}

}  // namespace nibble
