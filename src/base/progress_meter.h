// SPDX-License-Identifier: Apache-2.0
//
// Calls a progress callback at most ten times a second (the first and last reports always) and turns its "no" into
// Error(cancelled).
//
//   ProgressMeter meter(options.progress, "evaluate", num_tokens);
//   meter.report(done);              // so much is done in all
//   meter.advance(more, tensor_name);  // or: so much more
//   const auto watch = meter.watch(pool);  // while the pool works, what was reported last is said again
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/thread_pool.h"
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
    item_ = item;
    const auto now = std::chrono::steady_clock::now();
    if (reported_ && done != total_ && now - last_ < kPause) return;
    reported_ = true;
    tell(now);
  }

  void advance(std::uint64_t amount, std::string_view item = {}) { report(done_ + amount, item); }

  // While that lives, which the meter must outlive: pieces of work that take long are reported while they last, from
  // the first report on, so that the callback may stop them, too. They must leave behind what an error in them would.
  // Null without a callback: who watched before does so still.
  std::unique_ptr<ThreadPool::Watch> watch(ThreadPool& pool) {
    if (!callback_) return nullptr;
    return std::make_unique<ThreadPool::Watch>(pool, [this] {
      if (!reported_ || stopped_) return;
      if (const auto now = std::chrono::steady_clock::now(); now - last_ >= kPause) tell(now);
    });
  }

 private:
  static constexpr std::chrono::milliseconds kPause{100};

  void tell(std::chrono::steady_clock::time_point now) {
    last_ = now;
    stopped_ = true;  // by a callback that throws, too
    stopped_ = !callback_(Progress{stage_, item_, done_, total_});
    if (stopped_)
      throw Error(ErrorKind::cancelled,
                  refusal_.empty() ? "stopped by the caller during " + std::string(stage_) : std::string(refusal_));
  }

  const ProgressCallback& callback_;
  std::string_view stage_, refusal_;
  std::string item_;
  std::uint64_t done_ = 0, total_;
  bool reported_ = false;
  bool stopped_ = false;  // what tidies up behind an end is not stopped again
  std::chrono::steady_clock::time_point last_;
};

}  // namespace nibble
