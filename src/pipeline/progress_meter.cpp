// SPDX-License-Identifier: Apache-2.0
#include "pipeline/progress_meter.h"

#include "nibble/error.h"

namespace nibble {

ProgressMeter::ProgressMeter(const ProgressCallback& callback, std::string stage, std::uint64_t total)
    : callback_(callback), stage_(std::move(stage)), total_(total) {}

void ProgressMeter::advance(std::uint64_t amount, std::string_view item) {
  done_ += amount;
  if (!callback_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_ && done_ < total_) return;
  next_ = now + std::chrono::milliseconds(100);
  if (!callback_({stage_, item, done_, total_})) throw Error(ErrorKind::cancelled, stage_ + " was cancelled; nothing was written");
}

}  // namespace nibble
