// SPDX-License-Identifier: Apache-2.0
//
// Rotations of a Linear's inputs (QuaRot, Ashkboos et al. 2024, arXiv:2404.00456; QuIP#, Tseng et al. 2024,
// arXiv:2402.04396): blocks of a randomized Hadamard transform T, recorded with the tensor
// (format/tensor_parts.h). Weights are rounded for T x, and the engine rotates. What is large in a few columns, of
// weights or inputs, is spread over a block, and values become nearly normal, which coarse grids and trellises are made
// for.
//
//   if (auto parts = rotation_of(cols)) { planned.parts = parts; ... }
//   const SiteStatistics seen = rotated(site, parts->input_transform, machine);
#pragma once

#include <cstdint>
#include <memory>

#include "format/tensor_parts.h"
#include "kernels/machine.h"
#include "quantize/statistics.h"

namespace nibble {

inline constexpr std::uint32_t kLargestRotation = 256, kSmallestRotation = 16;

// A transform alone, in blocks of the largest power of two that divides the columns, with signs that follow from their
// number: Linears that read the same inputs rotate them alike. Null where that block is smaller than the smallest.
std::shared_ptr<const TensorParts> rotation_of(std::uint64_t cols);

// Of values that are rotated for good, which costs nothing while the model runs: one block of the largest power of two
// that divides the channels, as often as it fits. Empty where that is smaller than the smallest.
ChannelTransform whole_rotation(std::uint64_t channels);

// What T x is where the site says what x is: of mean squares alone, those of blocks, which is what signs at random
// leave on average. Ranges and histograms are not known.
SiteStatistics rotated(const SiteStatistics& site, const ChannelTransform& transform, Machine& machine);

}  // namespace nibble
