// SPDX-License-Identifier: Apache-2.0
//
// Calls a progress callback at most ten times a second and turns its refusal into Error(cancelled). One thread at a time.
//
//   ProgressMeter meter(callback, "quantize", total_bytes);
//   meter.advance(bytes, tensor_name);
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "nibble/progress.h"

namespace nibble {

class ProgressMeter {
 public:
  ProgressMeter(const ProgressCallback& callback, std::string stage, std::uint64_t total);
  // Adds to what is done. The first and the last report are always made.
  void advance(std::uint64_t amount, std::string_view item);

 private:
  const ProgressCallback& callback_;
  std::string stage_;
  std::uint64_t done_ = 0, total_;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace nibble
