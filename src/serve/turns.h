// SPDX-License-Identifier: Apache-2.0
//
// A lock that goes round: who waits longest has it next, so that threads that take it again and again share what it
// guards. For std::lock_guard. Safe from many threads.
//
//   const std::lock_guard turn(turns);
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace nibble::serve {

class Turns {
 public:
  void lock() {
    std::unique_lock lock(mutex_);
    const std::uint64_t mine = last_++;
    passed_.wait(lock, [&] { return now_ == mine; });
  }
  void unlock() {
    {
      const std::lock_guard lock(mutex_);
      ++now_;
    }
    passed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable passed_;
  std::uint64_t now_ = 0, last_ = 0;
};

}  // namespace nibble::serve
