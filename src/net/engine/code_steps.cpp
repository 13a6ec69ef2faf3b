// SPDX-License-Identifier: Apache-2.0
#include "net/engine/code_steps.h"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace nibble::net_engine {
namespace {

constexpr std::size_t kQuad = 4;  // bytes that are multiplied at a time

class CodeConvolution final : public Step {
 public:
  CodeConvolution(const ProductShape& shape, const ConvolutionViews& views, const CodeProduct& product)
      : places_(places_of(shape, views)), views_(views), limits_(product.limits) {
    PackedRuns runs = runs_of(shape, views.x);
    depth_ = (runs.depth + kQuad - 1) / kQuad * kQuad;
    const std::size_t depth = runs.offsets.size() * depth_, row = shape.group_inputs() * shape.taps();
    blocks_ = output_blocks(shape, depth);
    for (const OutputBlocks& one : blocks_) {
      const std::size_t width = one.blocks * kOutputBlock;
      panels_.resize(one.panel + depth * width);
      for (auto* const numbers : {&factors_, &offsets_}) numbers->resize(one.bias + width);
      biases_.resize(one.bias + width);
      for (std::size_t j = 0; j < one.outputs; ++j) {
        const std::size_t output = one.group * shape.group_outputs() + one.first + j;
        for (std::size_t run = 0; run < runs.offsets.size(); ++run)
          for (std::size_t i = 0; i < runs.depth; ++i) {
            const std::size_t k = run * depth_ + i;
            panels_[one.panel + (k / kQuad * width + j) * kQuad + k % kQuad] =
                product.weights[output * row + runs.inputs[run * runs.depth + i]];
          }
        biases_[one.bias + j] = product.bias[output];
        factors_[one.bias + j] = product.factors[output];
        offsets_[one.bias + j] = product.offsets[output];
      }
    }
    for (const std::ptrdiff_t offset : runs.offsets)
      for (std::size_t k = 0; k < depth_; k += kQuad) quads_.push_back(offset + static_cast<std::ptrdiff_t>(k));
    group_inputs_ = shape.group_inputs();
    group_outputs_ = shape.group_outputs();
    grain_ = places_.count() * row * shape.outputs < 2 * kWorthThreads ? places_.count() : kPlacesAtATime;
  }

  std::string_view name() const override { return "convolution of codes"; }

  void run(const Run& run) const override {
    const std::uint8_t* const x = run.codes(views_.x) - views_.x.offset;
    std::uint8_t* const y = run.codes(views_.y) - views_.y.offset;
    over_places(run.machine.pool, places_.count(), std::max<std::size_t>(grain_, 1),
                [&](std::size_t begin, std::size_t end) {
                  for (std::size_t first = begin; first < end; first += kPlacesAtATime)
                    make(run.loops, x, y, first, std::min(end, first + kPlacesAtATime));
                });
  }

 private:
  void make(const ConvolutionLoops& loops, const std::uint8_t* x, std::uint8_t* y, std::size_t begin,
            std::size_t end) const {
    std::array<const std::uint8_t*, kPlacesAtATime> from;
    std::array<std::uint8_t*, kPlacesAtATime> to;
    places_.walk(begin, end, [&](std::size_t i, std::ptrdiff_t window, std::ptrdiff_t place, std::ptrdiff_t) {
      from[i] = x + window;
      to[i] = y + place;
    });
    for (const OutputBlocks& one : blocks_)
      loops.convolve_codes({.x = from.data(),
                            .y = to.data(),
                            .places = end - begin,
                            .from = static_cast<std::ptrdiff_t>(one.group * group_inputs_),
                            .to = static_cast<std::ptrdiff_t>(one.group * group_outputs_ + one.first),
                            .quads = {quads_.data(), quads_.size(), kQuad},
                            .panel = panels_.data() + one.panel,
                            .bias = biases_.data() + one.bias,
                            .rounding = {factors_.data() + one.bias, offsets_.data() + one.bias, limits_.low,
                                         limits_.high, static_cast<std::int32_t>(limits_.zero)},
                            .blocks = one.blocks,
                            .outputs = one.outputs});
  }

  ConvolvedPlaces places_;
  ConvolutionViews views_;
  CodeLimits limits_;
  std::vector<OutputBlocks> blocks_;
  std::vector<std::int8_t> panels_;
  std::vector<std::int32_t> biases_;
  std::vector<float> factors_, offsets_;
  std::vector<std::ptrdiff_t> quads_;
  std::size_t depth_ = 0, group_inputs_ = 0, group_outputs_ = 0, grain_ = 1;
};

// Whole numbers that f32 holds, however they are summed; or a bias alone, which is rounded once.
bool sums_are_exact(const CodeProduct& product, std::size_t taps) {
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  for (std::size_t c = 0; c < product.bias.size(); ++c) {
    std::int64_t size = 0;
    for (std::size_t t = 0; t < taps; ++t) size += std::abs(product.weights[c * taps + t]);
    if (size != 0 && std::abs(std::int64_t{product.bias[c]}) + 255 * size >= kMost) return false;
  }
  return true;
}
// Taps whose sums f32 holds without a bias.
constexpr std::size_t kMostChannelTaps = 512;

class CodeChannelwise final : public Step {
 public:
  CodeChannelwise(const ProductShape& shape, const ConvolutionViews& views, const CodeProduct& product)
      : places_(places_of(shape, views)), views_(views), limits_(product.limits), channels_(shape.outputs) {
    const std::size_t width = (channels_ + kOutputBlock - 1) / kOutputBlock * kOutputBlock, taps = shape.taps();
    weights_.resize(taps * width);
    for (auto* const numbers : {&biases_, &factors_, &offsets_}) numbers->resize(width);
    const bool is_exact = sums_are_exact(product, taps);
    if (!is_exact) large_biases_.resize(width);
    for (std::size_t c = 0; c < channels_; ++c) {
      for (std::size_t t = 0; t < taps; ++t) weights_[t * width + c] = product.weights[c * taps + t];
      if (is_exact)
        biases_[c] = static_cast<float>(product.bias[c]);
      else
        large_biases_[c] = product.bias[c];
      factors_[c] = product.factors[c];
      offsets_[c] = product.offsets[c];
    }
    const ChannelRows rows = channel_rows(shape, views.x);
    taps_ = rows.offsets;
    tap_cols_ = rows.cols;
    tap_step_ = rows.step;
    rows_at_a_time_ = places_.count() * channels_ * taps < kWorthThreads ? places_.images * places_.rows : 1;
  }

  std::string_view name() const override { return "channelwise convolution of codes"; }

  void run(const Run& run) const override {
    const std::uint8_t* const x = run.codes(views_.x) - views_.x.offset;
    std::uint8_t* const y = run.codes(views_.y) - views_.y.offset;
    over_places(
        run.machine.pool, places_.images * places_.rows, std::max<std::size_t>(rows_at_a_time_, 1),
        [&](std::size_t begin, std::size_t end) {
          for (std::size_t i = begin; i < end; ++i)
            run.loops.convolve_code_channels({.x = x + places_.from.at(i / places_.rows, i % places_.rows, 0),
                                              .place_stride = static_cast<std::size_t>(places_.from.col),
                                              .taps = {taps_.data(), taps_.size(), tap_cols_, tap_step_},
                                              .weights = weights_.data(),
                                              .bias = biases_.data(),
                                              .large_bias = large_biases_.empty() ? nullptr : large_biases_.data(),
                                              .rounding = {factors_.data(), offsets_.data(), limits_.low, limits_.high,
                                                           static_cast<std::int32_t>(limits_.zero)},
                                              .channels = channels_,
                                              .places = places_.cols,
                                              .y = y + places_.to.at(i / places_.rows, i % places_.rows, 0),
                                              .y_stride = static_cast<std::size_t>(places_.to.col)});
        });
  }

 private:
  ConvolvedPlaces places_;
  ConvolutionViews views_;
  CodeLimits limits_;
  std::size_t channels_, rows_at_a_time_ = 1, tap_cols_ = 1, tap_step_ = 0;
  std::vector<float> weights_, biases_, factors_, offsets_;
  std::vector<std::int32_t> large_biases_;
  std::vector<std::ptrdiff_t> taps_;
};

class CodeSumStep final : public Step {
 public:
  CodeSumStep(const CodeSum& sum, const View& a, const View& b, const View& y)
      : sum_(sum),
        walk_(y.extents, {y.strides, a.strides, b.strides}, {y.offset, a.offset, b.offset}),
        a_(a),
        b_(b),
        y_(y) {}
  std::string_view name() const override { return "sum of codes"; }
  void run(const Run& run) const override {
    const std::uint8_t* const a = run.codes(a_) - a_.offset;
    const std::uint8_t* const b = run.codes(b_) - b_.offset;
    std::uint8_t* const y = run.codes(y_) - y_.offset;
    walk_([&](const std::array<std::ptrdiff_t, 3>& at) {
      run.loops.add_codes(a + at[1], {sum_.a_grid.scale, sum_.a_grid.zero}, b + at[2],
                          {sum_.b_grid.scale, sum_.b_grid.zero}, walk_.count(), {sum_.y_grid.scale, sum_.y_grid.zero},
                          sum_.limits.low, sum_.limits.high, y + at[0]);
    });
  }

 private:
  CodeSum sum_;
  Walk<3> walk_;
  View a_, b_, y_;
};

// x and y lie alike, so that the inner loop is over neighbours.
class CodeMapStep : public Step {
 public:
  CodeMapStep(const View& x, const View& y)
      : walk_(y.extents, {y.strides, x.strides}, {y.offset, x.offset}), x_(x), y_(y) {}

 protected:
  Walk<2> walk_;
  View x_, y_;
};

class CodeTableStep final : public CodeMapStep {
 public:
  CodeTableStep(const CodeTable& table, const View& x, const View& y) : CodeMapStep(x, y), table_(table) {}
  std::string_view name() const override { return "table of codes"; }
  void run(const Run& run) const override {
    const std::uint8_t* const x = run.codes(x_) - x_.offset;
    std::uint8_t* const y = run.codes(y_) - y_.offset;
    walk_([&](const std::array<std::ptrdiff_t, 2>& at) {
      for (std::size_t i = 0; i < walk_.count(); ++i)
        y[at[0] + static_cast<std::ptrdiff_t>(i)] = table_.bytes[x[at[1] + static_cast<std::ptrdiff_t>(i)]];
    });
  }

 private:
  CodeTable table_;
};

class WidenStep final : public CodeMapStep {
 public:
  WidenStep(const CodeGrid& grid, const View& x, const View& y) : CodeMapStep(x, y), grid_(grid) {}
  std::string_view name() const override { return "widen"; }
  void run(const Run& run) const override {
    const std::uint8_t* const x = run.codes(x_) - x_.offset;
    float* const y = run.floats(y_) - y_.offset;
    walk_([&](const std::array<std::ptrdiff_t, 2>& at) {
      run.loops.widen(x + at[1], walk_.count(), {grid_.scale, grid_.zero}, y + at[0]);
    });
  }

 private:
  CodeGrid grid_;
};

class NarrowStep final : public CodeMapStep {
 public:
  NarrowStep(const CodeGrid& grid, float low, float high, const View& x, const View& y)
      : CodeMapStep(x, y), grid_(grid), low_(low), high_(high) {}
  std::string_view name() const override { return "narrow"; }
  void run(const Run& run) const override {
    const float* const x = run.floats(x_) - x_.offset;
    std::uint8_t* const y = run.codes(y_) - y_.offset;
    walk_([&](const std::array<std::ptrdiff_t, 2>& at) {
      run.loops.narrow(x + at[1], walk_.count(), {grid_.scale, grid_.zero}, low_, high_, y + at[0]);
    });
  }

 private:
  CodeGrid grid_;
  float low_, high_;
};

}  // namespace

StepPointer code_convolution(const ProductShape& shape, const ConvolutionViews& views, const CodeProduct& product) {
  if (shape.is_channelwise() && shape.taps() <= kMostChannelTaps)
    return std::make_unique<CodeChannelwise>(shape, views, product);
  return std::make_unique<CodeConvolution>(shape, views, product);
}
StepPointer code_sum_step(const CodeSum& sum, const View& a, const View& b, const View& y) {
  return std::make_unique<CodeSumStep>(sum, a, b, y);
}
StepPointer code_table_step(const CodeTable& table, const View& x, const View& y) {
  return std::make_unique<CodeTableStep>(table, x, y);
}
StepPointer widen_step(const CodeGrid& grid, const View& x, const View& y) {
  return std::make_unique<WidenStep>(grid, x, y);
}
StepPointer narrow_step(const CodeGrid& grid, float low, float high, const View& x, const View& y) {
  return std::make_unique<NarrowStep>(grid, low, high, x, y);
}

}  // namespace nibble::net_engine
