// SPDX-License-Identifier: Apache-2.0
#include "net/engine/convolution_step.h"

#include <algorithm>
#include <array>

namespace nibble::net_engine {
namespace {

ConvolvedPlaces::Steps steps_of(const View& view, std::ptrdiff_t row_factor, std::ptrdiff_t col_factor) {
  const auto& s = view.strides;
  if (s.size() == 4) return {view.offset, s[0], s[2] * row_factor, s[3] * col_factor};
  return {view.offset, s[0], 0, s[2] * col_factor};
}

class FloatConvolution final : public Step {
 public:
  FloatConvolution(const ProductShape& shape, const ConvolutionViews& views, std::span<const float> weights,
                   std::span<const float> bias, float low, float high)
      : places_(places_of(shape, views)), views_(views), low_(low), high_(high) {
    PackedRuns runs = runs_of(shape, views.x);
    const std::size_t depth = runs.inputs.size(), row = shape.group_inputs() * shape.taps();
    blocks_ = output_blocks(shape, depth);
    for (const OutputBlocks& one : blocks_) {
      panels_.resize(one.panel + depth * one.blocks * kOutputBlock);
      biases_.resize(one.bias + one.blocks * kOutputBlock);
      for (std::size_t j = 0; j < one.outputs; ++j) {
        const std::size_t output = one.group * shape.group_outputs() + one.first + j;
        for (std::size_t k = 0; k < depth; ++k)
          panels_[one.panel + k * one.blocks * kOutputBlock + j] = weights[output * row + runs.inputs[k]];
        if (!bias.empty()) biases_[one.bias + j] = bias[output];
      }
    }
    offsets_ = std::move(runs.offsets);
    depth_ = runs.depth;
    group_inputs_ = shape.group_inputs();
    group_outputs_ = shape.group_outputs();
    const std::size_t work = places_.count() * row * shape.outputs;
    grain_ = work < kWorthThreads ? places_.count() : kPlacesAtATime;
  }

  std::string_view name() const override { return "convolution"; }

  void run(const Run& run) const override {
    const float* const x = run.floats(views_.x) - views_.x.offset;
    float* const y = run.floats(views_.y) - views_.y.offset;
    const float* const more = views_.added ? run.floats(*views_.added) - views_.added->offset : nullptr;
    over_places(run.machine.pool, places_.count(), std::max<std::size_t>(grain_, 1),
                [&](std::size_t begin, std::size_t end) {
                  for (std::size_t first = begin; first < end; first += kPlacesAtATime)
                    make(run.loops, x, y, more, first, std::min(end, first + kPlacesAtATime));
                });
  }

 private:
  void make(const ConvolutionLoops& loops, const float* x, float* y, const float* more, std::size_t begin,
            std::size_t end) const {
    std::array<const float*, kPlacesAtATime> from, added;
    std::array<float*, kPlacesAtATime> to;
    places_.walk(begin, end, [&](std::size_t i, std::ptrdiff_t window, std::ptrdiff_t place, std::ptrdiff_t beside) {
      from[i] = x + window;
      to[i] = y + place;
      added[i] = more + (more == nullptr ? 0 : beside);
    });
    for (const OutputBlocks& one : blocks_)
      loops.convolve({.x = from.data(),
                      .y = to.data(),
                      .added = more == nullptr ? nullptr : added.data(),
                      .places = end - begin,
                      .from = static_cast<std::ptrdiff_t>(one.group * group_inputs_),
                      .to = static_cast<std::ptrdiff_t>(one.group * group_outputs_ + one.first),
                      .runs = {offsets_.data(), offsets_.size(), depth_},
                      .panel = panels_.data() + one.panel,
                      .bias = biases_.data() + one.bias,
                      .blocks = one.blocks,
                      .outputs = one.outputs,
                      .low = low_,
                      .high = high_});
  }

  ConvolvedPlaces places_;
  ConvolutionViews views_;
  std::vector<OutputBlocks> blocks_;
  std::vector<float> panels_, biases_;
  std::vector<std::ptrdiff_t> offsets_;
  std::size_t depth_ = 0, group_inputs_ = 0, group_outputs_ = 0, grain_ = 1;
  float low_, high_;
};

class FloatChannelwise final : public Step {
 public:
  FloatChannelwise(const ProductShape& shape, const ConvolutionViews& views, std::span<const float> weights,
                   std::span<const float> bias, float low, float high)
      : places_(places_of(shape, views)), views_(views), channels_(shape.outputs), low_(low), high_(high) {
    const std::size_t width = (channels_ + kOutputBlock - 1) / kOutputBlock * kOutputBlock, taps = shape.taps();
    weights_.resize(taps * width);
    biases_.resize(width);
    for (std::size_t c = 0; c < channels_; ++c) {
      for (std::size_t t = 0; t < taps; ++t) weights_[t * width + c] = weights[c * taps + t];
      if (!bias.empty()) biases_[c] = bias[c];
    }
    const ChannelRows rows = channel_rows(shape, views.x);
    taps_ = rows.offsets;
    tap_cols_ = rows.cols;
    tap_step_ = rows.step;
    rows_at_a_time_ = places_.count() * channels_ * taps < kWorthThreads ? places_.images * places_.rows : 1;
  }

  std::string_view name() const override { return "channelwise convolution"; }

  void run(const Run& run) const override {
    const float* const x = run.floats(views_.x) - views_.x.offset;
    float* const y = run.floats(views_.y) - views_.y.offset;
    over_places(run.machine.pool, places_.images * places_.rows, std::max<std::size_t>(rows_at_a_time_, 1),
                [&](std::size_t begin, std::size_t end) {
                  for (std::size_t i = begin; i < end; ++i)
                    run.loops.convolve_channels({.x = x + places_.from.at(i / places_.rows, i % places_.rows, 0),
                                                 .place_stride = static_cast<std::size_t>(places_.from.col),
                                                 .taps = {taps_.data(), taps_.size(), tap_cols_, tap_step_},
                                                 .weights = weights_.data(),
                                                 .bias = biases_.data(),
                                                 .channels = channels_,
                                                 .places = places_.cols,
                                                 .y = y + places_.to.at(i / places_.rows, i % places_.rows, 0),
                                                 .y_stride = static_cast<std::size_t>(places_.to.col),
                                                 .low = low_,
                                                 .high = high_});
                });
  }

 private:
  ConvolvedPlaces places_;
  ConvolutionViews views_;
  std::size_t channels_, rows_at_a_time_ = 1, tap_cols_ = 1, tap_step_ = 0;
  std::vector<float> weights_, biases_;
  std::vector<std::ptrdiff_t> taps_;
  float low_, high_;
};

}  // namespace

ConvolvedPlaces places_of(const ProductShape& shape, const ConvolutionViews& views) {
  ConvolvedPlaces places;
  if (!shape.is_linear) {
    const ImageExtents made = ImageExtents::of(views.y.extents);
    places.images = made.images;
    places.rows = made.height;
    places.cols = made.width;
    places.from = steps_of(views.x, shape.window.row_stride, shape.window.col_stride);
    places.to = steps_of(views.y, 1, 1);
    if (views.added) places.added = steps_of(*views.added, 1, 1);
    return places;
  }
  places.cols = shape.outputs == 0 ? 0 : static_cast<std::size_t>(numbers_of(views.y.extents)) / shape.outputs;
  places.from = {views.x.offset, 0, 0, static_cast<std::ptrdiff_t>(shape.inputs)};
  places.to = {views.y.offset, 0, 0, static_cast<std::ptrdiff_t>(shape.outputs)};
  if (views.added) places.added = {views.added->offset, 0, 0, static_cast<std::ptrdiff_t>(shape.outputs)};
  return places;
}

PackedRuns runs_of(const ProductShape& shape, const View& x) {
  PackedRuns packed;
  const Window::Plane& w = shape.window;
  const std::size_t channels = shape.group_inputs(), taps = shape.taps();
  const std::ptrdiff_t row = x.strides.size() == 4 ? x.strides[2] * w.row_step : 0,
                       col = shape.is_linear ? 0 : x.strides.back() * w.col_step;
  const bool joins = shape.groups == 1 && w.tap_cols > 1 && col == static_cast<std::ptrdiff_t>(channels);
  const std::size_t joined = joins ? w.tap_cols : 1;
  packed.depth = joined * channels;
  for (std::size_t r = 0; r < w.tap_rows; ++r)
    for (std::size_t c = 0; c < w.tap_cols; c += joined) {
      packed.offsets.push_back(static_cast<std::ptrdiff_t>(r) * row + static_cast<std::ptrdiff_t>(c) * col);
      for (std::size_t j = 0; j < joined; ++j)
        for (std::size_t i = 0; i < channels; ++i) packed.inputs.push_back(i * taps + r * w.tap_cols + c + j);
    }
  return packed;
}

ChannelRows channel_rows(const ProductShape& shape, const View& x) {
  const Window::Plane& w = shape.window;
  ChannelRows rows{{}, w.tap_cols, static_cast<std::size_t>(x.strides.back() * w.col_step)};
  const std::ptrdiff_t row = x.strides.size() == 4 ? x.strides[2] * w.row_step : 0;
  for (std::size_t r = 0; r < w.tap_rows; ++r) rows.offsets.push_back(static_cast<std::ptrdiff_t>(r) * row);
  return rows;
}

std::vector<OutputBlocks> output_blocks(const ProductShape& shape, std::size_t depth) {
  std::vector<OutputBlocks> all;
  std::size_t panel = 0, bias = 0;
  for (std::size_t group = 0; group < shape.groups; ++group)
    for (std::size_t first = 0; first < shape.group_outputs();) {
      const std::size_t left = shape.group_outputs() - first, blocks = (left + kOutputBlock - 1) / kOutputBlock;
      OutputBlocks one{group, first, blocks >= 4 ? 4U : blocks >= 2 ? 2U : 1U, 0, panel, bias};
      one.outputs = std::min(left, one.blocks * kOutputBlock);
      panel += depth * one.blocks * kOutputBlock;
      bias += one.blocks * kOutputBlock;
      first += one.outputs;
      all.push_back(one);
    }
  return all;
}

StepPointer float_convolution(const ProductShape& shape, const ConvolutionViews& views, std::span<const float> weights,
                              std::span<const float> bias, float low, float high) {
  if (shape.is_channelwise() && !views.added)
    return std::make_unique<FloatChannelwise>(shape, views, weights, bias, low, high);
  return std::make_unique<FloatConvolution>(shape, views, weights, bias, low, high);
}

}  // namespace nibble::net_engine
