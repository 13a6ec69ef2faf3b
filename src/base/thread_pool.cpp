// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace nibble {
namespace {

// Between the steps of a decoder only microseconds pass: waking a sleeping thread would take longer. So threads look
// for work this many times (10 to 40 microseconds) before they sleep. Who looked in vain looks half as long the next
// time: on a processor that is shared with others, spinning keeps work from being done.
constexpr int kMostSpins = 1000, kFewestSpins = 30;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" : : : "memory");  // which waits about as long as x86's PAUSE; YIELD does nothing on most
#endif
}

// One thread's patience.
class Waiter {
 public:
  // Returns when done(value) holds: spins, then sleeps.
  template <class Done>
  void await(const std::atomic<std::uint32_t>& value, Done&& done) {
    for (int i = 0; i < spins_; ++i) {
      if (done(value.load(std::memory_order_acquire))) {
        spins_ = kMostSpins;
        return;
      }
      relax();
    }
    spins_ = std::max(spins_ / 2, kFewestSpins);
    for (std::uint32_t now = value.load(std::memory_order_acquire); !done(now);
         now = value.load(std::memory_order_acquire))
      value.wait(now, std::memory_order_acquire);
  }

 private:
  int spins_ = kMostSpins;
};

}  // namespace

// Two kinds of calls. `run_on_some` opens a gate for its function, works, closes the gate, and waits for those inside.
// `run_on_all` raises a number that every worker answers once. Workers that may join the first kind wait for `calls`,
// which counts both kinds; the others, beyond the number of processors, wait for `rounds` alone and sleep through the
// rest.
struct ThreadPool::State {
  static constexpr std::uint32_t kOpen = 1u << 31;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (threads.empty()) return;
    stopping = true;
    start_round();
    for (std::thread& thread : threads) thread.join();
  }

  // Starts workers 1 .. count - 1, or as many of them as the system gives. processors_of: where each is tied; empty:
  // nowhere.
  void start(std::size_t count, std::size_t joining, const std::vector<int>& processors_of) {
    num_joining = joining;
    try {
      threads.reserve(count - 1);
      for (std::size_t worker = 1; worker < count; ++worker)
        threads.emplace_back([this, worker, processor = processors_of.empty() ? -1 : processors_of[worker]] {
          if (processor >= 0) pin_this_thread(processor);
          work(worker);
        });
    } catch (const std::system_error&) {
      // No more threads, or no more room for their stacks: those there are do all the work.
    } catch (const std::bad_alloc&) {
    }
  }

  std::vector<std::thread> threads;
  std::size_t num_joining = 0;  // workers that join the first kind: 1 .. num_joining
  Waiter waiter;                // the caller's
  // Written by the caller while the gate is closed and empty and no round is on.
  Function function = nullptr;
  void* context = nullptr;
  bool stopping = false;
  std::mutex error_mutex;
  std::exception_ptr error;
  alignas(64) std::atomic<std::uint32_t> calls{0};
  alignas(64) std::atomic<std::uint32_t> rounds{0};
  alignas(64) std::atomic<std::uint32_t> gate{0};       // kOpen, and how many workers are inside
  alignas(64) std::atomic<std::uint32_t> remaining{0};  // workers that owe an answer to this round
  alignas(64) std::atomic<std::size_t> chunk{0};
  std::atomic<std::size_t> chunks{0};  // how many there are; fewer from when the watch threw on
  const Watch* watch = nullptr;        // the caller's

  void call(std::size_t worker) noexcept {
    try {
      function(context, worker);
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  }

  bool enter() {
    std::uint32_t now = gate.load(std::memory_order_relaxed);
    while ((now & kOpen) != 0)
      if (gate.compare_exchange_weak(now, now + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    return false;
  }

  void join(std::size_t worker) {
    if (!enter()) return;
    call(worker);
    if (gate.fetch_sub(1, std::memory_order_release) == 1)
      gate.notify_one();  // the gate was closed: the caller may be asleep
  }

  void work(std::size_t worker) {
    Waiter patience;
    const bool joins = worker <= num_joining;
    const std::atomic<std::uint32_t>& signal = joins ? calls : rounds;
    for (std::uint32_t seen = 0, answered = 0;;) {
      patience.await(signal, [&](std::uint32_t now) { return now != seen; });
      seen = signal.load(std::memory_order_acquire);
      if (const std::uint32_t round = rounds.load(std::memory_order_acquire); round != answered) {
        answered = round;
        if (stopping) return;
        call(worker);
        if (remaining.fetch_sub(1, std::memory_order_release) == 1) remaining.notify_one();
      } else {
        join(worker);
      }
    }
  }

  void begin(Function f, void* c) {
    function = f;
    context = c;
    error = nullptr;
  }

  void start_round() {
    remaining.store(static_cast<std::uint32_t>(threads.size()), std::memory_order_relaxed);
    rounds.fetch_add(1, std::memory_order_release);
    calls.fetch_add(1, std::memory_order_release);
    rounds.notify_all();
    calls.notify_all();
  }

  void end() {
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
  }
};

ThreadPool::ThreadPool(const ThreadPoolOptions& options) : state_(std::make_unique<State>()) {
  const std::size_t processors = options.processors == 0 ? available_processors() : options.processors;
  const std::size_t count =
      std::clamp<std::size_t>(options.num_threads == 0 ? processors : options.num_threads, 1, 1024);
  // A pool that fills the machine gives each worker a processor: memory that it wrote first stays near, and none waits
  // behind another while a processor idles. A smaller one leaves the choice to the system, which knows what else is
  // running. The caller's thread is not ours to tie.
  const std::vector<int> mask = affinity_mask();
  const bool pinned = count == mask.size() && processors >= count;
  state_->start(count, std::min(count, processors) - 1, pinned ? mask : std::vector<int>());
  if (num_threads() == count) return;
  // A system at its limit needs room for more than this pool. Workers beyond the processors bring nothing: theirs is
  // given back, and a quarter of the rest.
  const std::size_t fewer = std::max<std::size_t>(1, std::min(num_threads() - num_threads() / 4, processors));
  state_ = nullptr;
  state_ = std::make_unique<State>();
  state_->start(fewer, fewer - 1, {});
}

ThreadPool::~ThreadPool() = default;

std::size_t ThreadPool::num_threads() const noexcept { return state_->threads.size() + 1; }

void ThreadPool::run_on_all(Function function, void* context) {
  State& s = *state_;
  s.begin(function, context);
  if (!s.threads.empty()) s.start_round();
  s.call(0);
  s.waiter.await(s.remaining, [](std::uint32_t left) { return left == 0; });
  s.end();
}

void ThreadPool::run_on_some(Function function, void* context) {
  State& s = *state_;
  s.begin(function, context);
  if (s.num_joining != 0 && !s.threads.empty()) {
    s.gate.store(State::kOpen, std::memory_order_release);
    s.calls.fetch_add(1, std::memory_order_release);
    s.calls.notify_all();
  }
  s.call(0);
  s.gate.fetch_and(~State::kOpen, std::memory_order_relaxed);
  s.waiter.await(s.gate, [](std::uint32_t inside) { return inside == 0; });
  s.end();
}

void ThreadPool::hand_out(std::size_t chunks) noexcept {
  state_->chunks.store(chunks, std::memory_order_relaxed);
  state_->chunk.store(0, std::memory_order_relaxed);
}

std::optional<std::size_t> ThreadPool::next_chunk(std::size_t worker) {
  State& s = *state_;
  if (worker == 0 && s.watch != nullptr) {
    try {
      s.watch->look_();
    } catch (...) {
      s.chunks.store(0, std::memory_order_relaxed);
      throw;
    }
  }
  const std::size_t chunk = s.chunk.fetch_add(1, std::memory_order_relaxed);
  if (chunk >= s.chunks.load(std::memory_order_relaxed)) return std::nullopt;
  return chunk;
}

void ThreadPool::look_at_watch() {
  if (state_->watch != nullptr) state_->watch->look_();
}

ThreadPool::Watch::Watch(ThreadPool& pool, std::function<void()> look)
    : pool_(pool), look_(std::move(look)), before_(pool.state_->watch) {
  pool_.state_->watch = look_ ? this : nullptr;
}

ThreadPool::Watch::~Watch() { pool_.state_->watch = before_; }

}  // namespace nibble
