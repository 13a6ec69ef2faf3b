// SPDX-License-Identifier: Apache-2.0
//
// Activations of many windows in 8 bits, with a scale for every 128 columns of a token: what products with int8 activations round them to. Kept so
// that they need not be computed again. The same bits for any number of threads and on any instruction set.
//
//   KeptInputs kept(windows, length, width, "");
//   kept.put(3, x, pool);                        // x becomes what was kept
//   if (kept.has(3)) kept.get(3, x, pool);
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/thread_pool.h"
#include "calibrate/spillable_bytes.h"

namespace nibble {

class KeptInputs {
 public:
  // directory: of the file that they lie in; empty: in memory.
  KeptInputs(std::size_t windows, std::size_t length, std::size_t width, const std::filesystem::path& directory);

  bool has(std::size_t window) const { return has_[window]; }
  // x: [length, width], finite.
  void put(std::size_t window, float* x, ThreadPool& pool);
  void get(std::size_t window, float* x, ThreadPool& pool) const;
  void forget() { has_.assign(has_.size(), false); }

 private:
  float* scales_of(std::size_t window) const { return memory_.as<float>(window * window_bytes_); }  // [length, groups]
  std::int8_t* codes_of(std::size_t window) const {                                                 // [length, width]
    return memory_.as<std::int8_t>(window * window_bytes_ + length_ * groups_ * sizeof(float));
  }

  std::size_t length_, width_, groups_, window_bytes_;
  SpillableBytes memory_;  // scales and codes by window
  std::vector<bool> has_;
};

}  // namespace nibble
