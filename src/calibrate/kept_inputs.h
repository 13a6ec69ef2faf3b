// SPDX-License-Identifier: Apache-2.0
//
// Activations of many windows in 8 bits, with a scale for every 128 columns of a token: what products with int8 activations round them to. Kept so
// that they need not be computed again. The same bits for any number of threads and on any instruction set.
//
//   KeptInputs kept(windows, length, width);
//   kept.put(3, x, pool);                        // x becomes what was kept
//   if (kept.has(3)) kept.get(3, x, pool);
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/resident_bytes.h"

namespace nibble {

class KeptInputs {
 public:
  KeptInputs(std::size_t windows, std::size_t length, std::size_t width);

  bool has(std::size_t window) const { return has_[window]; }
  // x: [length, width], finite.
  void put(std::size_t window, float* x, ThreadPool& pool);
  void get(std::size_t window, float* x, ThreadPool& pool) const;
  void forget() { has_.assign(has_.size(), false); }

 private:
  std::size_t length_, width_, groups_;
  ResidentBytes memory_;
  std::int8_t* codes_;
  std::vector<float> scales_;
  std::vector<bool> has_;
};

}  // namespace nibble
