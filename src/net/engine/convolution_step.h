// SPDX-License-Identifier: Apache-2.0
//
// Convolutions and Linears, with what is fused into them. Weights are packed once, when a step is made.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "graph/op/window.h"
#include "net/engine/step.h"

namespace nibble::net_engine {

// What all kinds of convolution know of the places that they make and of what those see.
struct ConvolvedPlaces {
  // Of the results: images x rows x cols, and how far apart what they see, and they themselves, lie.
  std::size_t images = 1, rows = 1, cols = 1;
  struct Steps {
    std::ptrdiff_t first = 0, image = 0, row = 0, col = 0;
    std::ptrdiff_t at(std::size_t i, std::size_t r, std::size_t c) const {
      return first + static_cast<std::ptrdiff_t>(i) * image + static_cast<std::ptrdiff_t>(r) * row +
             static_cast<std::ptrdiff_t>(c) * col;
    }
  };
  Steps from, to, added;
  std::size_t count() const { return images * rows * cols; }
  // body(i, where a place's window begins, the place, what is added to it) for places begin + i of begin .. end.
  template <class Body>
  void walk(std::size_t begin, std::size_t end, const Body& body) const {
    std::size_t col = begin % cols, row = begin / cols % rows, image = begin / cols / rows;
    for (std::size_t i = 0; i < end - begin; col = 0) {
      std::ptrdiff_t window = from.at(image, row, col), place = to.at(image, row, col),
                     more = added.at(image, row, col);
      for (; col < cols && i < end - begin; ++col, ++i) {
        body(i, window, place, more);
        window += from.col;
        place += to.col;
        more += added.col;
      }
      if (++row < rows) continue;
      row = 0;
      ++image;
    }
  }
};

// A convolution or a Linear as both are computed: outputs [groups * outputs of a group], each with [depth of a group *
// taps] weights, taps last.
struct ProductShape {
  std::size_t groups = 1, inputs = 0, outputs = 0;  // of all groups
  Window::Plane window = {};                        // taps, strides and steps; of a Linear one tap
  bool is_linear = false;                           // of rows, not of places
  std::size_t taps() const { return window.tap_rows * window.tap_cols; }
  std::size_t group_inputs() const { return inputs / groups; }
  std::size_t group_outputs() const { return outputs / groups; }
  bool is_channelwise() const { return groups > 1 && groups == inputs && groups == outputs; }
};

// x: at its window's first place. added: of y's shape.
struct ConvolutionViews {
  View x, y;
  std::optional<View> added;
};

// weights [outputs, inputs of a group, taps]; bias [outputs] or empty.
StepPointer float_convolution(const ProductShape& shape, const ConvolutionViews& views, std::span<const float> weights,
                              std::span<const float> bias, float low, float high);

// Where places and windows lie, for convolutions of images and for rows.
ConvolvedPlaces places_of(const ProductShape& shape, const ConvolutionViews& views);
// Where the runs of a window begin, and how deep they are; in the order of `inputs`: of each input of a run, its place
// in a row of weights.
struct PackedRuns {
  std::vector<std::ptrdiff_t> offsets;
  std::size_t depth = 0;
  std::vector<std::size_t> inputs;  // [offsets.size() * depth]
};
PackedRuns runs_of(const ProductShape& shape, const View& x);

// The same of convolutions of each channel by itself: rows of taps.
struct ChannelRows {
  std::vector<std::ptrdiff_t> offsets;
  std::size_t cols = 1, step = 0;
};
ChannelRows channel_rows(const ProductShape& shape, const View& x);

// Blocks of outputs as tiles take them: 4, 2 or 1.
struct OutputBlocks {
  std::size_t group = 0, first = 0, blocks = 0, outputs = 0;  // first: output of the group
  std::size_t panel = 0, bias = 0;                            // where its numbers begin
};
std::vector<OutputBlocks> output_blocks(const ProductShape& shape, std::size_t depth);

// Goes over places in pieces that threads share where there is enough to do: body(first, end).
template <class Body>
void over_places(ThreadPool& pool, std::size_t count, std::size_t grain, const Body& body) {
  pool.parallel_for(count, grain, [&](std::size_t begin, std::size_t end, std::size_t) { body(begin, end); });
}

inline constexpr std::size_t kPlacesAtATime = 96;
// Multiplications below which threads are not worth their meeting.
inline constexpr std::size_t kWorthThreads = 200'000;

}  // namespace nibble::net_engine
