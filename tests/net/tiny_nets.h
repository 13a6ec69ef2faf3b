// SPDX-License-Identifier: Apache-2.0
//
// The nets of tests/data/nets, and what ONNX Runtime makes of them (tools/tiny_nets.py).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "io/npy/npy_file.h"
#include "net/net.h"

namespace nibble {

inline std::filesystem::path tiny_net(const std::string& name) {
  return std::filesystem::path(NIBBLE_SOURCE_DIR) / "tests/data/nets" / name;
}

inline std::map<std::string, NpyArray> tiny_arrays(const std::string& name) {
  const MappedFile file(tiny_net(name + ".npz"));
  std::map<std::string, NpyArray> arrays;
  for (auto& [key, array] : parse_npz(file.bytes(), name)) arrays.emplace(key, std::move(array));
  return arrays;
}

inline std::vector<std::vector<float>> run_tiny(const Net& net, const std::map<std::string, NpyArray>& arrays,
                                                ThreadPool* pool) {
  std::vector<std::vector<float>> given;
  for (const NetPort& input : net.inputs) given.push_back(arrays.at("in/" + input.name).numbers);
  return evaluate(net, given, pool);
}

// Both sum at most some hundred products, here in f64, there in f32; codes and truths are the same.
inline void expect_outputs(const Net& net, const std::vector<std::vector<float>>& made,
                           const std::map<std::string, NpyArray>& arrays) {
  ASSERT_EQ(made.size(), net.outputs.size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    const NpyArray& expected = arrays.at("out/" + net.outputs[i].name);
    EXPECT_EQ(extents_of(net.graph.values[net.outputs[i].value]), expected.shape) << net.outputs[i].name;
    ASSERT_EQ(made[i].size(), expected.numbers.size());
    float largest = 0;
    for (const float number : expected.numbers) largest = std::max(largest, std::abs(number));
    const float tolerance = expected.type == "f4" ? 128 * 0x1p-24F * (1 + largest) : 0;
    for (std::size_t j = 0; j < made[i].size(); ++j)
      ASSERT_NEAR(made[i][j], expected.numbers[j], tolerance) << net.outputs[i].name << " at " << j;
  }
}

}  // namespace nibble
