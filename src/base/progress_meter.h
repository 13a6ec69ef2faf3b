// SPDX-License-Identifier: Apache-2.0
//
// Calls a progress callback at most ten times a second (the first and last reports always) and turns its "no" into Error(cancelled).
//
//   ProgressMeter meter(options.progress, "evaluate", num_tokens);
//   meter.report(done);
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "nibble/error.h"
#include "nibble/progress.h"

namespace nibble {

class ProgressMeter {
 public:
  ProgressMeter(const ProgressCallback& callback, std::string_view stage, std::uint64_t total) : callback_(callback), stage_(stage), total_(total) {}

  void report(std::uint64_t done, std::string_view item = {}) {
    if (!callback_) return;
    const auto now = std::chrono::steady_clock::now();
    if (reported_ && done != total_ && now - last_ < std::chrono::milliseconds(100)) return;
    reported_ = true;
    last_ = now;
    if (!callback_(Progress{stage_, item, done, total_})) throw Error(ErrorKind::cancelled, "stopped by the caller during " + std::string(stage_));
  }

 private:
  const ProgressCallback& callback_;
  std::string_view stage_;
  std::uint64_t total_;
  bool reported_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace nibble
