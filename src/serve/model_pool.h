// SPDX-License-Identifier: Apache-2.0
//
// Models that share a memory: each is loaded when it is first used, and where that memory has no room for it, those go
// that were used longest ago. None goes while it answers: those that are idle go first, and of one that is not the
// texts at work are ended first, while further requests for it wait until it is loaded again. Safe from many threads; a
// thread of its own loads.
//
//   ModelPool pool(models, {.memory = budget, .most_waiting = 64});
//   pool.use(1, 1, [](const std::shared_ptr<LoadedModel>& model) { model->scheduler.submit(...); }, on_failure);
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "nibble/progress.h"
#include "serve/scheduler.h"

namespace nibble::serve {

// A decoder and what has its requests in one batch.
struct LoadedModel {
  LoadedModel(std::unique_ptr<Decoder> own, const Tokenizer& tokenizer, const SchedulerOptions& options)
      : decoder(std::move(own)), scheduler(*decoder, tokenizer, options) {}
  // A decoder that outlives this.
  LoadedModel(Decoder& others, const Tokenizer& tokenizer, const SchedulerOptions& options)
      : scheduler(others, tokenizer, options) {}
  // Weights that this has, and what caches may take.
  std::uint64_t bytes() const { return (decoder ? decoder->resident_bytes() : 0) + scheduler.options().limits.memory; }

  std::unique_ptr<Decoder> decoder;
  Scheduler scheduler;  // the last: it uses the decoder
};

// What caches get of what a model was reckoned to need, weights and all: what its weights leave, as they lie in memory,
// which may be more than in the file. one: a full sequence's, which they need.
std::uint64_t caches_beside(std::uint64_t reckoned, std::uint64_t weights, std::uint64_t one);

struct PooledModel {
  std::string name;
  std::uint64_t bytes = 0;  // that it needs, weights and caches; once it was loaded, what it took
  // Before others make room for it. Throws where it cannot be loaded, as far as that is soon known.
  std::function<void()> judge = {};
  // From the pool's thread. progress: Error(cancelled) once it returns false.
  std::function<std::shared_ptr<LoadedModel>(const ProgressCallback& progress)> load;
};

// Why those who wait for a model do not get it: no fault of theirs.
struct LoadFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// For whoever looks on; from the pool's thread.
struct PoolEvent {
  std::string model;
  bool is_loaded = false;  // else it has gone, or failed to load
  double seconds = 0;
  std::uint64_t bytes = 0;
  std::string error{};
};

struct PoolOptions {
  std::uint64_t memory = UINT64_MAX;        // of all that are loaded
  std::size_t most_waiting = SIZE_MAX;      // texts that wait for a model
  std::chrono::milliseconds retry{10'000};  // after a model has failed to load; until then it fails at once
  std::function<void(const PoolEvent&)> on_event = {};
};

enum class PoolPlace { unloaded, loading, loaded };
std::string_view place_name(PoolPlace place);

class ModelPool {
 public:
  // Error(resource): a model needs more than the memory by itself (says both).
  ModelPool(std::vector<PooledModel> models, PoolOptions options);
  // One model, which is loaded and stays.
  explicit ModelPool(std::shared_ptr<LoadedModel> model);
  ~ModelPool();  // as drain() of no time

  // The model, and whoever waits for it: at once from this thread where it is loaded, else from the pool's. Submit, and
  // return: nothing else of the pool goes on meanwhile, and it calls nothing of the pool. What it throws is thrown
  // here, or given to failed.
  using Use = std::function<void(const std::shared_ptr<LoadedModel>& model)>;
  // Why there is no model: LoadFailure; nullptr: the pool drains. What use threw. May call the pool.
  using Failed = std::function<void(const std::exception_ptr& error)>;
  // Who waits; 0: nobody, use or failed was called.
  using Waiter = std::uint64_t;
  // texts: that this will submit. None: too many wait for that model, or the pool drains.
  std::optional<Waiter> use(std::size_t model, std::size_t texts, Use use, Failed failed);
  // It waits no more, and none of its functions is called. False: it did not wait, or one is.
  bool forget(std::size_t model, Waiter waiter);
  // As the scheduler's; nothing where the model has gone.
  void cancel(const std::weak_ptr<LoadedModel>& model, Ticket ticket);
  // In this thread, before anybody uses it. Errors as of its load.
  void load(std::size_t model, const ProgressCallback& progress = {});

  // Takes no more, and waits for what is at work; what is not done by then is cancelled, and what waits for a model
  // fails at once. True: all that was at work is done.
  bool drain(std::chrono::milliseconds most);
  bool drains() const;

  std::size_t size() const noexcept { return places_.size(); }
  std::uint64_t memory() const noexcept { return options_.memory; }
  PoolPlace place(std::size_t model) const;
  // What it takes; 0: it is not loaded.
  std::uint64_t bytes(std::size_t model) const;
  std::uint64_t loads(std::size_t model) const;  // how often it was
  // Of what is not loaded there are the counts of when it was.
  SchedulerState state(std::size_t model) const;

 private:
  struct Waiting {
    Waiter waiter;
    std::size_t texts;
    Use use;
    Failed failed;
  };
  struct Place {
    PooledModel model;
    std::shared_ptr<LoadedModel> loaded{};
    std::deque<Waiting> waiting{};
    std::size_t waiting_texts = 0;
    std::uint64_t last_used = 0, loads = 0, rejected = 0;
    Metrics past{};  // of when it was loaded before
    bool is_wanted = false, goes = false;
    std::exception_ptr failure{};  // of its last load; until then the next is not tried
    std::chrono::steady_clock::time_point fails_until{};
  };
  using Lock = std::unique_lock<std::mutex>;
  void work();
  std::shared_ptr<LoadedModel> bring(Lock& lock, Place& place);
  void expect_room_for(const PooledModel& model) const;
  bool make_room_for(Lock& lock, const Place& place);  // false: the pool ends
  void unload(Lock& lock, Place& place);
  std::uint64_t taken() const;
  static std::deque<Waiting> taken_from(Place& place);
  void hand_out(Lock& lock, Place& place, const std::exception_ptr& failure);
  static bool is_idle(const Place& place);
  void tell(Lock& lock, const PoolEvent& event);

  PoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Place> places_;
  std::deque<std::size_t> wanted_;  // models that wait to be loaded, in turn
  std::uint64_t clock_ = 0;
  Waiter last_waiter_ = 0;
  std::atomic<bool> ends_ = false;
  bool drains_ = false, hands_out_ = false;
  std::thread thread_;
};

}  // namespace nibble::serve
