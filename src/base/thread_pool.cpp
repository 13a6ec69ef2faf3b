// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace nibble {
namespace {

// The cgroup v2 quota in whole processors, rounded up; 0 when there is none.
std::size_t cgroup_processors() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  const double processors = std::strtod(quota.c_str(), nullptr) / period;
  return processors > 0 ? static_cast<std::size_t>(processors + 0.999) : 0;
}

}  // namespace

std::size_t available_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::size_t count = sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<std::size_t>(CPU_COUNT(&set)) : std::thread::hardware_concurrency();
  if (const std::size_t quota = cgroup_processors(); quota != 0) count = std::min(count, quota);
  return std::max<std::size_t>(count, 1);
}

struct ThreadPool::State {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable started, finished;
  std::uint64_t epoch = 0;    // counts calls of run; guarded by mutex
  std::size_t remaining = 0;  // workers still inside the task; guarded by mutex
  bool stopping = false;
  Function function = nullptr;
  void* context = nullptr;
  std::exception_ptr error;
  alignas(64) std::atomic<std::size_t> chunk{0};

  void call(std::size_t worker) {
    try {
      function(context, worker);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  }

  void work(std::size_t worker) {
    std::uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock lock(mutex);
        started.wait(lock, [&] { return stopping || epoch != seen; });
        if (stopping) return;
        seen = epoch;
      }
      call(worker);
      const std::lock_guard lock(mutex);
      if (--remaining == 0) finished.notify_one();
    }
  }
};

ThreadPool::ThreadPool(std::size_t num_threads) : state_(std::make_unique<State>()) {
  const std::size_t count = std::clamp<std::size_t>(num_threads == 0 ? available_processors() : num_threads, 1, 1024);
  state_->threads.reserve(count - 1);
  for (std::size_t worker = 1; worker < count; ++worker) state_->threads.emplace_back([state = state_.get(), worker] { state->work(worker); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->started.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

std::size_t ThreadPool::num_threads() const noexcept { return state_->threads.size() + 1; }

void ThreadPool::run_erased(Function function, void* context) {
  if (state_->threads.empty()) {
    function(context, 0);
    return;
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->function = function;
    state_->context = context;
    state_->error = nullptr;
    state_->remaining = state_->threads.size();
    ++state_->epoch;
  }
  state_->started.notify_all();
  state_->call(0);
  std::unique_lock lock(state_->mutex);
  state_->finished.wait(lock, [&] { return state_->remaining == 0; });
  if (state_->error) std::rethrow_exception(std::exchange(state_->error, nullptr));
}

void ThreadPool::reset_chunks() noexcept { state_->chunk.store(0, std::memory_order_relaxed); }
std::size_t ThreadPool::next_chunk() noexcept { return state_->chunk.fetch_add(1, std::memory_order_relaxed); }

}  // namespace nibble
