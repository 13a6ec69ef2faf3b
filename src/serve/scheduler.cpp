// SPDX-License-Identifier: Apache-2.0
#include "serve/scheduler.h"

#include <algorithm>
#include <utility>

namespace nibble::serve {

Scheduler::Scheduler(Decoder& decoder, const Tokenizer& tokenizer, const SchedulerOptions& options)
    : options_(options), loop_(decoder, tokenizer, options.limits) {
  publish();
  thread_ = std::thread([this] { work(); });
}

Scheduler::~Scheduler() { stop(); }

void Scheduler::stop() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = cancels_all_ = state_.drains = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::optional<Ticket> Scheduler::submit(std::vector<GenerationRequest> requests, EventCallback on_event) {
  for (const GenerationRequest& request : requests) loop_.judge(request);
  const std::lock_guard lock(mutex_);
  if (state_.drains || requests.size() > most_together() - std::min(in_flight_, most_together())) {
    ++rejected_;
    return std::nullopt;
  }
  in_flight_ += requests.size();
  // Who is told of an end finds it counted.
  EventCallback counted = [this, on_event = std::move(on_event)](const GenerationEvent& event) {
    if (event.finish) {
      const std::lock_guard counting(mutex_);
      --in_flight_;
      publish();
    }
    on_event(event);
  };
  submitted_.push_back({++last_ticket_, std::move(requests), std::move(counted)});
  changed_.notify_all();
  return last_ticket_;
}

void Scheduler::cancel(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(ticket);
  changed_.notify_all();
}

bool Scheduler::drain(std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  state_.drains = true;
  const auto is_done = [&] { return in_flight_ == 0; };
  const bool all = idle_.wait_for(lock, most, is_done);
  if (!all) {
    cancels_all_ = true;
    changed_.notify_all();
    idle_.wait(lock, is_done);
  }
  return all;
}

SchedulerState Scheduler::state() const {
  const std::lock_guard lock(mutex_);
  SchedulerState state = state_;
  state.waiting = in_flight_ - state.running;
  state.metrics.rejected = rejected_;
  return state;
}

void Scheduler::publish() {
  state_.metrics = loop_.metrics();
  state_.running = loop_.running();
  state_.memory_in_use = loop_.memory_in_use();
  state_.memory_held = loop_.memory_held();
  state_.memory = loop_.limits().memory;
  state_.sequences = loop_.facts();
}

void Scheduler::step() {
  if (options_.turns == nullptr) {
    loop_.step();
    return;
  }
  const std::lock_guard turn(*options_.turns);
  loop_.step();
}

void Scheduler::work() {
  for (;;) {
    std::vector<Submitted> submitted;
    std::vector<Ticket> cancelled;
    bool cancels_all = false;
    {
      std::unique_lock lock(mutex_);
      publish();
      if (in_flight_ == 0) idle_.notify_all();
      changed_.wait(lock, [&] { return ends_ || cancels_all_ || !cancelled_.empty() || in_flight_ > 0; });
      if (ends_ && in_flight_ == 0) return;
      submitted = std::exchange(submitted_, {});
      cancelled = std::exchange(cancelled_, {});
      cancels_all = std::exchange(cancels_all_, ends_);
    }
    for (Submitted& one : submitted)
      for (std::size_t i = 0; i < one.requests.size(); ++i)
        loop_.add(one.ticket, i, std::move(one.requests[i]), one.on_event);
    for (const Ticket ticket : cancelled) loop_.cancel(ticket);
    if (cancels_all) loop_.cancel_all();
    step();
  }
}

}  // namespace nibble::serve
