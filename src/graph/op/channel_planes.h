// SPDX-License-Identifier: Apache-2.0
//
// What a convolution does with channels, forwards or transposed: a plane of sums for each output channel, to which
// every tap of every input channel of its group adds. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "graph/operation.h"

namespace nibble {

struct ChannelPlanes {
  std::size_t channels = 0, outputs = 0, groups = 1;  // of inputs, of outputs; both whole groups
  std::size_t in_plane = 0, out_plane = 0, taps = 0;  // numbers of a plane; taps of a window
};

// weight_at(input channel, output channel, tap): its place in w. add_tap(plane, factor, tap, sums): adds a plane of
// the input times factor to [out_plane]. b: by output channel; empty: none. output [any, outputs, out_plane].
template <class WeightAt, class AddTap>
void sum_channel_planes(const ChannelPlanes& p, const Operands& operands, std::span<const float> w,
                        std::span<const float> b, WeightAt weight_at, AddTap add_tap, std::span<float> output) {
  if (p.out_plane == 0) return;
  const std::size_t in_group = p.channels / p.groups, out_group = p.outputs / p.groups;
  const float* const x = operands.inputs[0].data();
  const auto make = [&](std::size_t begin, std::size_t end, std::size_t) {
    std::vector<double> sums(p.out_plane);
    for (std::size_t at = begin; at < end; ++at) {
      const std::size_t o = at % p.outputs, first = o / out_group * in_group;
      std::ranges::fill(sums, b.empty() ? 0.0 : static_cast<double>(b[o]));
      for (std::size_t c = first; c < first + in_group; ++c)
        for (std::size_t tap = 0; tap < p.taps; ++tap)
          add_tap(x + (at / p.outputs * p.channels + c) * p.in_plane, static_cast<double>(w[weight_at(c, o, tap)]), tap,
                  sums.data());
      for (std::size_t i = 0; i < p.out_plane; ++i) output[at * p.out_plane + i] = static_cast<float>(sums[i]);
    }
  };
  const std::size_t planes = output.size() / p.out_plane;
  if (operands.pool != nullptr) return operands.pool->parallel_for(planes, 1, make);
  make(0, planes, 0);
}

}  // namespace nibble
