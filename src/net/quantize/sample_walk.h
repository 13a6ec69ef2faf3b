// SPDX-License-Identifier: Apache-2.0
//
// Samples carried through a net together, an operation after the other: Linears and most convolutions by the kernels of
// dense algebra, the rest by the reference arithmetic, in which threads share the samples. One caller at a time.
//
//   walk_samples(net, {samples}, machine, {.see = [&](ValueId value, SampleValues& made) { record(value, made); }});
#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "format/activation_format.h"
#include "kernels/machine.h"
#include "net/net.h"

namespace nibble {

using NetSample = std::vector<std::vector<float>>;     // numbers of each input, in the net's order
using SampleValues = std::vector<std::vector<float>>;  // of one value, by sample
using NumbersByPart = std::map<std::string, std::vector<float>, std::less<>>;

struct SampleWalk {
  // Called with each input and each value as it is made, which it may change.
  std::function<void(ValueId, SampleValues&)> see = {};
  const NumbersByPart* instead = nullptr;  // of weights; null: the net's own
};

// The outputs, by sample and output.
std::vector<NetSample> walk_samples(const Net& net, std::span<const NetSample> samples, Machine& machine,
                                    const SampleWalk& walk);

// One node for all samples. inputs: by input of the node.
SampleValues evaluate_samples(const Net& net, const Node& node, std::span<const SampleValues* const> inputs,
                              const NumbersByPart* instead, Machine& machine);

// Grids of values: codes are -128 .. 127.
using ValueGrids = std::map<ValueId, ActivationGrid>;
// Every number becomes the point of the grid that it is rounded to; ties to even.
void round_to_grid(const ActivationGrid& grid, std::span<float> numbers);

}  // namespace nibble
