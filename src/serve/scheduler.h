// SPDX-License-Identifier: Apache-2.0
//
// A batch loop with a thread of its own, and a bounded queue before it. Safe from many threads; callbacks come from the
// thread that computes.
//
//   Scheduler scheduler(decoder, tokenizer, {.limits = limits, .queue = 64});
//   const auto ticket = scheduler.submit({request}, [](const GenerationEvent& event) { ... });
//   if (!ticket) ...   // the queue is full
//   scheduler.cancel(*ticket);
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "serve/batch_loop.h"
#include "serve/turns.h"

namespace nibble::serve {

using Ticket = std::uint64_t;

struct SchedulerOptions {
  BatchLimits limits;
  std::size_t queue = 64;  // requests that wait while others are at work
  Turns* turns = nullptr;  // of those who share the decoder's machine: a step has it alone
};

// How things stood after the last step, or when a request ended.
struct SchedulerState {
  Metrics metrics;
  std::size_t waiting = 0, running = 0;
  std::uint64_t memory_in_use = 0, memory_held = 0, memory = 0;
  bool drains = false;
  std::vector<SequenceFacts> sequences;
};

class Scheduler {
 public:
  // Decoder and tokenizer must outlive this, and nobody else uses the decoder. Errors as BatchLoop's.
  Scheduler(Decoder& decoder, const Tokenizer& tokenizer, const SchedulerOptions& options);
  ~Scheduler();  // what is not done is cancelled

  // Requests that belong together: taken all or none. None: the queue is full, or the scheduler drains. Errors as
  // BatchLoop::judge's.
  std::optional<Ticket> submit(std::vector<GenerationRequest> requests, EventCallback on_event);
  // How many requests one call may have.
  std::size_t most_together() const noexcept { return options_.limits.most_sequences + options_.queue; }
  // Within one step, unless it is done.
  void cancel(Ticket ticket);
  // Takes no more, and waits for what there is; what is not done by then is cancelled. True: all were done.
  bool drain(std::chrono::milliseconds most);
  // Takes no more, cancels what is not done, and ends its thread: the state stays as it is then. By one thread.
  void stop();

  SchedulerState state() const;
  const SchedulerOptions& options() const noexcept { return options_; }

 private:
  struct Submitted {
    Ticket ticket;
    std::vector<GenerationRequest> requests;
    EventCallback on_event;
  };
  void work();
  void step();
  void publish();  // with the lock held

  SchedulerOptions options_;
  BatchLoop loop_;  // of the working thread
  mutable std::mutex mutex_;
  std::condition_variable changed_, idle_;
  std::vector<Submitted> submitted_;
  std::vector<Ticket> cancelled_;
  bool ends_ = false, cancels_all_ = false;
  std::size_t in_flight_ = 0;  // requests whose last event is still to come
  Ticket last_ticket_ = 0;
  std::uint64_t rejected_ = 0;
  SchedulerState state_;
  std::thread thread_;
};

}  // namespace nibble::serve
