// SPDX-License-Identifier: Apache-2.0
//
// Inputs T x of weights that are made for them (format/tensor_parts.h): a fast Walsh-Hadamard transform of each run of
// channels. The same bits on every instruction set; a vector's do not depend on the vectors beside it.
//
//   const InputRotation rotation({256, signs}, cols, machine.isa);
//   rotation.apply(x, rotated);   // [cols], perhaps in place
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "format/tensor_parts.h"
#include "kernels/linear/hadamard_runs.h"

namespace nibble {

class InputRotation {
 public:
  // channels: a multiple of the transform's size, and as many as it has signs.
  InputRotation(const ChannelTransform& transform, std::uint64_t channels, Isa isa);

  std::size_t channels() const noexcept { return factors_.size(); }
  std::uint64_t resident_bytes() const noexcept { return factors_.size() * sizeof(float); }
  void apply(const float* x, float* out) const { runs_(x, factors_.data(), size_, factors_.size(), out); }

  // Each of the vectors [.., channels], in `room`.
  std::span<const float> apply_to(std::span<const float> vectors, std::vector<float>& room, ThreadPool& pool) const;

  // The same inputs for both.
  bool operator==(const InputRotation& other) const { return size_ == other.size_ && factors_ == other.factors_; }

 private:
  std::size_t size_;
  std::vector<float> factors_;  // a channel's sign, divided by sqrt(size)
  HadamardRuns runs_;
};

}  // namespace nibble
