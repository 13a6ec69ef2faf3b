// SPDX-License-Identifier: Apache-2.0
//
// Activations of many windows, rounded as products round them: in 8 bits, with a scale for every 128 columns of a
// token, and wide columns (kernels/linear/integer_shape.h) beside. The product rounds them once more, by less than half
// a step. Kept so that they need not be computed again. The same bits for any number of threads and on any instruction
// set.
//
//   KeptInputs kept(windows, length, width, format, isa, "");
//   kept.put(3, x, pool);                        // x becomes what was kept
//   if (kept.has(3)) kept.get(3, x, pool);
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "calibrate/spillable_bytes.h"
#include "format/activation_format.h"

namespace nibble {

class KeptInputs {
 public:
  // format: of runs of 128 columns, not all of them wide. directory: of the file that they lie in; empty: in memory.
  KeptInputs(std::size_t windows, std::size_t length, std::size_t width, const ActivationFormat& format, Isa isa,
             const std::filesystem::path& directory);

  bool has(std::size_t window) const { return has_[window]; }
  // x: [length, width], finite.
  void put(std::size_t window, float* x, ThreadPool& pool);
  void get(std::size_t window, float* x, ThreadPool& pool) const;
  void forget() {
    has_.assign(has_.size(), false);
    wide_.assign(wide_.size(), {});
  }

 private:
  float* scales_of(std::size_t window) const { return memory_.as<float>(window * window_bytes_); }  // [length, groups]
  std::int8_t* codes_of(std::size_t window) const {                                                 // [length, width]
    return memory_.as<std::int8_t>(window * window_bytes_ + length_ * groups_ * sizeof(float));
  }

  struct WideCode {
    std::uint32_t column : 24;
    std::int32_t code : 8;
  };
  void put_token(std::size_t window, std::size_t token, float* x);
  void get_token(std::size_t window, std::size_t token, float* x) const;

  Isa isa_;
  ActivationFormat format_;
  std::size_t length_, width_, groups_, window_bytes_;
  SpillableBytes memory_;  // scales and codes by window
  std::vector<std::vector<WideCode>>
      wide_;  // by window and token; in memory always: four bytes for one column of a hundred
  std::vector<bool> has_;
};

}  // namespace nibble
