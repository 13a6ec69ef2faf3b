// SPDX-License-Identifier: Apache-2.0
//
// The project's own thread pool. Created once, passed in, never global. One caller at a time: `run` and `parallel_for`
// may be called from one thread only and not from inside a task.
//
// Work is cut by grain, not by the number of threads, so that results are the same bits for any number of threads.
//
//   ThreadPool pool(2);
//   pool.parallel_for(rows, 16, [&](std::size_t begin, std::size_t end, std::size_t worker) { ... });
//
// Work that takes long may be watched: what the watch throws ends it between two chunks.
//
//   const ThreadPool::Watch watch(pool, [&] { if (somebody_wants_an_end()) throw Error(...); });
//
// Workers join a parallel_for if they are there in time and are not waited for otherwise: a worker that the system
// keeps from running costs its share of the speed and no more. There are never more at work than there are processors,
// however many threads were asked for. Where the system gives fewer threads than were asked for, the pool goes on with
// fewer: num_threads() tells.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>

#include "base/processors.h"

namespace nibble {

struct ThreadPoolOptions {
  std::size_t num_threads =
      0;                       // the calling thread being one of them; 0: available_processors(). Never more than 1024.
  std::size_t processors = 0;  // that may be at work on chunks at the same time; 0: available_processors()
};

class ThreadPool {
 public:
  explicit ThreadPool(const ThreadPoolOptions& options);
  explicit ThreadPool(std::size_t num_threads = 0) : ThreadPool(ThreadPoolOptions{.num_threads = num_threads}) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // While it lives, the caller of parallel_for asks `look` before each chunk that it takes itself, instead of what it
  // asked before; an empty one: nobody, for work that is to be whole. From the caller's thread; it must outlive no
  // pool.
  class Watch {
   public:
    Watch(ThreadPool& pool, std::function<void()> look);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    ThreadPool& pool_;
    std::function<void()> look_;
    const Watch* before_;
    friend ThreadPool;
  };

  std::size_t num_threads() const noexcept;

  // Calls task(worker) once on each worker, worker in [0, num_threads), and returns when all have returned. The first
  // exception thrown by a task is rethrown here after all have returned.
  template <class Task>
  void run(Task&& task) {
    using T = std::remove_reference_t<Task>;
    run_on_all([](void* context, std::size_t worker) { (*static_cast<T*>(context))(worker); },
               const_cast<void*>(static_cast<const void*>(std::addressof(task))));
  }

  // Splits [0, count) into chunks of `grain` (the last may be short) and calls body(begin, end, worker) for each.
  // Chunks are handed out dynamically; which worker takes which chunk is not defined, the chunks themselves are.
  // Exceptions as in run. One that a watch throws leaves out the chunks that nobody has begun.
  template <class Body>
  void parallel_for(std::size_t count, std::size_t grain, Body&& body) {
    if (count == 0) return;
    if (count <= grain || num_threads() == 1) {
      for (std::size_t begin = 0; begin < count; begin += grain) {
        look_at_watch();
        body(begin, begin + grain < count ? begin + grain : count, std::size_t{0});
      }
      return;
    }
    hand_out((count - 1) / grain + 1);
    auto take_chunks = [&](std::size_t worker) {
      for (auto chunk = next_chunk(worker); chunk; chunk = next_chunk(worker)) {
        const std::size_t begin = *chunk * grain;
        body(begin, begin + grain < count ? begin + grain : count, worker);
      }
    };
    run_on_some([](void* context, std::size_t worker) { (*static_cast<decltype(take_chunks)*>(context))(worker); },
                &take_chunks);
  }

 private:
  using Function = void (*)(void* context, std::size_t worker);
  void run_on_all(Function function, void* context);
  void run_on_some(Function function, void* context);  // on the caller and on whoever comes before it has returned
  void hand_out(std::size_t chunks) noexcept;
  std::optional<std::size_t> next_chunk(std::size_t worker);  // throws what the watch throws, to the caller's thread
  void look_at_watch();

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble
