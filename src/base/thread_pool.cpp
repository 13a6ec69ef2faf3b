// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
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

namespace {

// Between the steps of a decoder only microseconds pass: waking a sleeping thread would take longer. So threads look for work this many
// times (about 30 microseconds) before they sleep. Where there are more threads than processors, spinning would keep others from work.
constexpr int kSpins = 1000;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Returns when `value` is no longer `old`: spins, then sleeps.
void await_change(const std::atomic<std::uint32_t>& value, std::uint32_t old, int spins) {
  for (int i = 0; i < spins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    relax();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> threads;
  int spins = 0;
  // Written by the caller before it raises the epoch, read by workers after they see it.
  Function function = nullptr;
  void* context = nullptr;
  bool stopping = false;
  std::mutex error_mutex;
  std::exception_ptr error;
  alignas(64) std::atomic<std::uint32_t> epoch{0};      // counts calls of run
  alignas(64) std::atomic<std::uint32_t> remaining{0};  // workers still inside the task
  alignas(64) std::atomic<std::size_t> chunk{0};

  void call(std::size_t worker) {
    try {
      function(context, worker);
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  }

  void work(std::size_t worker) {
    for (std::uint32_t seen = 0;; ++seen) {
      await_change(epoch, seen, spins);
      if (stopping) return;
      call(worker);
      if (remaining.fetch_sub(1, std::memory_order_acq_rel) == 1) remaining.notify_one();
    }
  }

  void start_epoch() {
    epoch.fetch_add(1, std::memory_order_release);
    epoch.notify_all();
  }
};

ThreadPool::ThreadPool(std::size_t num_threads) : state_(std::make_unique<State>()) {
  const std::size_t available = available_processors();
  const std::size_t count = std::clamp<std::size_t>(num_threads == 0 ? available : num_threads, 1, 1024);
  state_->spins = count <= available ? kSpins : 0;
  state_->threads.reserve(count - 1);
  for (std::size_t worker = 1; worker < count; ++worker) state_->threads.emplace_back([state = state_.get(), worker] { state->work(worker); });
}

ThreadPool::~ThreadPool() {
  state_->stopping = true;
  state_->start_epoch();
  for (std::thread& thread : state_->threads) thread.join();
}

std::size_t ThreadPool::num_threads() const noexcept { return state_->threads.size() + 1; }

void ThreadPool::run_erased(Function function, void* context) {
  State& s = *state_;
  if (s.threads.empty()) {
    function(context, 0);
    return;
  }
  s.function = function;
  s.context = context;
  s.error = nullptr;
  s.remaining.store(static_cast<std::uint32_t>(s.threads.size()), std::memory_order_relaxed);
  s.start_epoch();
  s.call(0);
  for (std::uint32_t left = s.remaining.load(std::memory_order_acquire); left != 0; left = s.remaining.load(std::memory_order_acquire))
    await_change(s.remaining, left, s.spins);
  if (s.error) std::rethrow_exception(std::exchange(s.error, nullptr));
}

void ThreadPool::reset_chunks() noexcept { state_->chunk.store(0, std::memory_order_relaxed); }
std::size_t ThreadPool::next_chunk() noexcept { return state_->chunk.fetch_add(1, std::memory_order_relaxed); }

}  // namespace nibble
