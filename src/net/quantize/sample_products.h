// SPDX-License-Identifier: Apache-2.0
//
// Products of many samples at once by the kernels of dense algebra, in f32: what calibration spends its time on. Sums
// are chains of fused multiply-adds, the same bits for any number of threads.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "kernels/machine.h"
#include "net/quantize/sample_walk.h"

namespace nibble {

using WeightOf = std::function<std::span<const float>(std::string_view)>;

// What each place of a convolution's result sees: [channels * taps, places].
void gather_windows(const Convolution& op, const Dimensions& x, std::span<const float> from,
                    std::vector<float>& columns);

// Of a Linear, or of a convolution whose channels are one group. false: of anything else, and made is left alone.
bool multiply_samples(const Node& node, std::span<const Dimensions> shapes, const SampleValues& x,
                      const WeightOf& weight, Machine& machine, SampleValues& made);

}  // namespace nibble
