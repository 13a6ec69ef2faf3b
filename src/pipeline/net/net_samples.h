// SPDX-License-Identifier: Apache-2.0
//
// Samples of a net's inputs: from files, or made where there are none.
//
//   const std::vector<NetSample> samples = read_samples(net, {"digits.npy"}, 200);
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "net/net.h"
#include "net/quantize/sample_walk.h"

namespace nibble {

// places, in order: "x.npy", for a net with one input, or "NAME=x.npy": arrays of the input's shape with a sample for
// each place along one dimension more in front, or in the place of a batch of 1; "x.npz", the same by the inputs'
// names; a directory of such files, of which each is samples of its own, or of ONNX's test data (input_0.pb,
// input_1.pb, ..., or directories of these). most: samples beyond are left out, evenly. Error(not_found, corrupt);
// Error(unusable_input): no samples, shapes that are not the net's, inputs without one, numbers that are not finite.
std::vector<NetSample> read_samples(const Net& net, const std::vector<std::string>& places, std::size_t most);

// Random numbers in place of samples: of several ranges the one under which the values before the net's norms come
// nearest to what these have stored of the data that it was trained on; without norms between -1 and 1. net: as it was
// read, norms not folded. told: which range that is. The same seed, the same samples.
std::vector<NetSample> make_samples(const Net& net, std::size_t count, std::uint64_t seed, Machine& machine,
                                    std::string& told);

}  // namespace nibble
