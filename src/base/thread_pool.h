// SPDX-License-Identifier: Apache-2.0
//
// The project's own thread pool. Created once, passed in, never global. One caller at a time: `run` and `parallel_for` may be called
// from one thread only and not from inside a task.
//
// Work is cut by grain, not by the number of threads, so that results are the same bits for any number of threads.
//
//   ThreadPool pool(2);
//   pool.parallel_for(rows, 16, [&](std::size_t begin, std::size_t end, std::size_t worker) { ... });
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

namespace nibble {

// The processors that this process may use: the smaller of its affinity mask and its cgroup quota, at least 1.
std::size_t available_processors();

class ThreadPool {
 public:
  // num_threads workers in all, the calling thread being one of them; 0 means available_processors(). Never more than 1024.
  explicit ThreadPool(std::size_t num_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t num_threads() const noexcept;

  // Calls task(worker) once on each worker, worker in [0, num_threads), and returns when all have returned. The first exception
  // thrown by a task is rethrown here after all have returned.
  template <class Task>
  void run(Task&& task) {
    using T = std::remove_reference_t<Task>;
    run_erased([](void* context, std::size_t worker) { (*static_cast<T*>(context))(worker); },
               const_cast<void*>(static_cast<const void*>(std::addressof(task))));
  }

  // Splits [0, count) into chunks of `grain` (the last may be short) and calls body(begin, end, worker) for each. Chunks are handed
  // out dynamically; which worker takes which chunk is not defined, the chunks themselves are.
  template <class Body>
  void parallel_for(std::size_t count, std::size_t grain, Body&& body) {
    if (count == 0) return;
    if (count <= grain || num_threads() == 1) {
      for (std::size_t begin = 0; begin < count; begin += grain) body(begin, begin + grain < count ? begin + grain : count, std::size_t{0});
      return;
    }
    reset_chunks();
    run([&](std::size_t worker) {
      for (std::size_t begin = next_chunk() * grain; begin < count; begin = next_chunk() * grain)
        body(begin, begin + grain < count ? begin + grain : count, worker);
    });
  }

 private:
  using Function = void (*)(void* context, std::size_t worker);
  void run_erased(Function function, void* context);
  void reset_chunks() noexcept;
  std::size_t next_chunk() noexcept;

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble
