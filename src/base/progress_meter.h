// SPDX-License-Identifier: Apache-2.0
//
// Calls a progress callback at most ten times a second (the first and last reports always) and turns its "no" into
// Error(cancelled).
//
//   ProgressMeter meter(options.progress, "evaluate", num_tokens);
//   meter.report(done);              // so much is done in all
//   meter.advance(more, tensor_name);  // or: so much more
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
  // `refusal` is the error's message; empty: "stopped by the caller during STAGE". Both texts must outlive the meter.
  ProgressMeter(const ProgressCallback& callback, std::string_view stage, std::uint64_t total,
                std::string_view refusal = {})
      : callback_(callback), stage_(stage), refusal_(refusal), total_(total) {}

  void report(std::uint64_t done, std::string_view item = {}) {
    done_ = done;
    if (!callback_) return;
    const auto now = std::chrono::steady_clock::now();
    if (reported_ && done != total_ && now - last_ < std::chrono::milliseconds(100)) return;
    reported_ = true;
    last_ = now;
    if (!callback_(Progress{stage_, item, done, total_}))
      throw Error(ErrorKind::cancelled,
                  refusal_.empty() ? "stopped by the caller during " + std::string(stage_) : std::string(refusal_));
  }

  void advance(std::uint64_t amount, std::string_view item = {}) { report(done_ + amount, item); }

 private:
  const ProgressCallback& callback_;
  std::string_view stage_, refusal_;
  std::uint64_t done_ = 0, total_;
  bool reported_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace nibble
