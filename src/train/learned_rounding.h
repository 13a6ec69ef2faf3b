// SPDX-License-Identifier: Apache-2.0
//
// A matrix whose rounding is learned: what is rounded is a position for each weight, which moves, on grids whose
// numbers move. It begins at codes and grids that a rounder has chosen. The network always reads the points that would
// be stored; a position takes the gradient of its point (straight-through, Bengio et al. 2013, arXiv:1308.3432), none
// where it has left the range of points, a grid's number that of its values while the codes stay. Positions are where
// they began plus an offset, counted in distances between points; numbers of grids are what they were times one plus a
// change. One thread at a time; the pool does the work.
//
//   LearnedRounding one(start, original.values, 0.45F, *weights.find(layer, "q"), pool);
//   one.round(pool);  ...  run.backward();  one.pull_back(pool);  optimizer.step({one.offsets()}, {}, machine);
//   QuantizedTensor made = one.store(pool);        // what the network has read since round()
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "format/quantized_tensor.h"
#include "format/trainable_grid.h"
#include "train/diagonal_curvature.h"
#include "train/network_weights.h"
#include "train/parameter.h"

namespace nibble {

class LearnedRounding {
 public:
  // start: in the order in which the network reads the weight. weights: the numbers that it stands for, [rows, cols].
  // within: how far from its point a position may begin, in distances between points, towards the weight. The weight
  // outlives this and is trained. Error(unsupported): refusal().
  LearnedRounding(const QuantizedTensor& start, std::span<const float> weights, float within, NetworkWeight& weight,
                  ThreadPool& pool);
  // Why the rounding of such a format is not learned; empty: it is.
  static std::string refusal(const Format& format);

  // [rows, cols] and [1, numbers of all grids]. Gradients are those that pull_back() has left; valid while this stays
  // where it is.
  Parameter offsets();
  Parameter grid_changes();
  // A grid's numbers change by so much of what they would.
  void scale_grid_changes(float share);
  void hold_in_bounds(float most, ThreadPool& pool);  // both, at most so far from where they began

  // The network's weight becomes the points that would be stored.
  void round(ThreadPool& pool);
  // From the gradient by the weight, which becomes that by the offsets in its place. Of the last round().
  void pull_back(ThreadPool& pool);
  // Positions go a share of the way to where the error would be least if nothing else moved, seen from their points:
  // slope over curvature away, a distance between points at most. Of the gradient that pull_back() has left.
  void approach(float share, const Curvature& curvature, ThreadPool& pool);
  // Of the last round().
  QuantizedTensor store(ThreadPool& pool) const;

  const NetworkWeight& weight() const { return *weight_; }
  // What one takes for each weight beside the network's, in bytes, a best state not counted.
  static constexpr std::uint64_t kBytesOfWeight = 3 * sizeof(float) + sizeof(std::uint16_t);

 private:
  struct Span;
  template <class Body>
  void each_span(ThreadPool& pool, Body body) const;

  NetworkWeight* weight_;
  FormatPtr format_;
  const TrainableGrid* free_;
  std::size_t span_, spans_, per_grid_;         // columns of a span, spans of a row, numbers of a grid
  std::vector<std::byte> first_grids_, grids_;  // [rows, spans]: of the start, of the last round()
  std::vector<std::uint16_t> codes_;            // of the last round()
  std::vector<float> begin_, distances_, offsets_;
  std::vector<float> first_numbers_, sizes_, changes_, slopes_;  // [rows, spans, numbers of a grid]
};

}  // namespace nibble
