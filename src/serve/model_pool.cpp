// SPDX-License-Identifier: Apache-2.0
#include "serve/model_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/elapsed.h"
#include "nibble/error.h"

namespace nibble::serve {

namespace {

// Longer than any text takes, and no more than clocks can hold.
constexpr std::chrono::hours kUntilDone{24 * 365};

}  // namespace

std::string_view place_name(PoolPlace place) {
  constexpr std::array<std::string_view, 3> kNames = {"unloaded", "loading", "loaded"};
  return kNames[static_cast<std::size_t>(place)];
}

std::uint64_t caches_beside(std::uint64_t reckoned, std::uint64_t weights, std::uint64_t one) {
  return std::max(one, reckoned - std::min(weights, reckoned));
}

ModelPool::ModelPool(std::vector<PooledModel> models, PoolOptions options) : options_(std::move(options)) {
  for (PooledModel& model : models) {
    expect_room_for(model);
    places_.push_back({.model = std::move(model)});
  }
  thread_ = std::thread([this] { work(); });
}

ModelPool::ModelPool(std::shared_ptr<LoadedModel> model) {
  const std::uint64_t bytes = model->bytes();
  places_.push_back({.model = {.name = {}, .bytes = bytes, .load = {}}, .loaded = std::move(model), .loads = 1});
  thread_ = std::thread([this] { work(); });
}

ModelPool::~ModelPool() {
  drain(std::chrono::milliseconds(0));
  thread_.join();
}

std::optional<ModelPool::Waiter> ModelPool::use(std::size_t model, std::size_t texts, Use use, Failed failed) {
  Lock lock(mutex_);
  Place& place = places_[model];
  if (drains_ || texts > options_.most_waiting - std::min(place.waiting_texts, options_.most_waiting)) {
    ++place.rejected;
    return std::nullopt;
  }
  place.last_used = ++clock_;
  if (place.loaded && !place.goes) {
    use(place.loaded);
    return 0;
  }
  if (place.failure && std::chrono::steady_clock::now() < place.fails_until) {
    const std::exception_ptr failure = place.failure;
    lock.unlock();
    failed(failure);
    return 0;
  }
  place.waiting.push_back({++last_waiter_, texts, std::move(use), std::move(failed)});
  place.waiting_texts += texts;
  if (!std::exchange(place.is_wanted, true)) wanted_.push_back(model);
  changed_.notify_all();
  return last_waiter_;
}

bool ModelPool::forget(std::size_t model, Waiter waiter) {
  std::optional<Waiting> forgotten;  // ends without the lock
  const Lock lock(mutex_);
  Place& place = places_[model];
  const auto found = std::ranges::find(place.waiting, waiter, &Waiting::waiter);
  if (found == place.waiting.end()) return false;
  forgotten.emplace(std::move(*found));
  place.waiting.erase(found);
  place.waiting_texts -= forgotten->texts;
  // Nobody is left for whom it would be loaded. What is being loaded stays so.
  if (place.waiting.empty() && std::erase(wanted_, model) > 0) place.is_wanted = false;
  return true;
}

// Holds no model beyond the lock: who holds it last ends it, and that is not for a caller to do.
void ModelPool::cancel(const std::weak_ptr<LoadedModel>& model, Ticket ticket) {
  const Lock lock(mutex_);
  for (const Place& place : places_)
    if (place.loaded && !model.owner_before(place.loaded) && !place.loaded.owner_before(model))
      place.loaded->scheduler.cancel(ticket);
}

void ModelPool::expect_room_for(const PooledModel& model) const {
  if (model.bytes > options_.memory)
    throw Error(
        ErrorKind::resource,
        fmt::format("'{}' needs more memory for its weights and caches than all models may have: {} bytes of {}",
                    model.name, model.bytes, options_.memory),
        "budget");
}

void ModelPool::load(std::size_t model, const ProgressCallback& progress) {
  Place& place = places_[model];
  place.loaded = place.model.load(progress);
  place.model.bytes = place.loaded->bytes();
  expect_room_for(place.model);
  ++place.loads;
}

bool ModelPool::drain(std::chrono::milliseconds most) {
  const auto late = std::chrono::steady_clock::now() + most;
  std::vector<std::shared_ptr<LoadedModel>> loaded;
  std::vector<Waiting> waiting;
  {
    Lock lock(mutex_);
    drains_ = ends_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !hands_out_; });
    for (Place& place : places_) {
      if (place.loaded) loaded.push_back(place.loaded);
      std::ranges::move(taken_from(place), std::back_inserter(waiting));
    }
  }
  for (const Waiting& one : waiting) one.failed(nullptr);
  bool all = true;
  for (const auto& model : loaded) {
    const auto left = late - std::chrono::steady_clock::now();
    all &= model->scheduler.drain(
        std::max(std::chrono::duration_cast<std::chrono::milliseconds>(left), std::chrono::milliseconds(0)));
  }
  return all;
}

bool ModelPool::drains() const {
  const std::lock_guard lock(mutex_);
  return drains_;
}

PoolPlace ModelPool::place(std::size_t model) const {
  const std::lock_guard lock(mutex_);
  const Place& place = places_[model];
  return place.is_wanted ? PoolPlace::loading : place.loaded ? PoolPlace::loaded : PoolPlace::unloaded;
}

std::uint64_t ModelPool::bytes(std::size_t model) const {
  const std::lock_guard lock(mutex_);
  return places_[model].loaded ? places_[model].model.bytes : 0;
}

std::uint64_t ModelPool::loads(std::size_t model) const {
  const std::lock_guard lock(mutex_);
  return places_[model].loads;
}

SchedulerState ModelPool::state(std::size_t model) const {
  const std::lock_guard lock(mutex_);
  const Place& place = places_[model];
  SchedulerState state = place.loaded ? place.loaded->scheduler.state() : SchedulerState{};
  state.metrics += place.past;
  state.metrics.rejected += place.rejected;
  state.waiting += place.waiting_texts;
  state.drains = drains_;
  return state;
}

std::uint64_t ModelPool::taken() const {
  std::uint64_t bytes = 0;
  for (const Place& place : places_)
    if (place.loaded) bytes += place.model.bytes;
  return bytes;
}

bool ModelPool::is_idle(const Place& place) {
  const SchedulerState state = place.loaded->scheduler.state();
  return state.running == 0 && state.waiting == 0;
}

std::deque<ModelPool::Waiting> ModelPool::taken_from(Place& place) {
  place.waiting_texts = 0;
  return std::exchange(place.waiting, {});
}

// Without the lock, so that who is told may ask the pool; a drain waits for it. Nobody else unloads meanwhile.
void ModelPool::hand_out(Lock& lock, Place& place, const std::exception_ptr& failure) {
  std::deque<Waiting> waiting = taken_from(place);
  const std::shared_ptr<LoadedModel> loaded = place.loaded;
  hands_out_ = true;
  lock.unlock();
  for (const Waiting& one : waiting) {
    try {
      failure ? one.failed(failure) : one.use(loaded);
    } catch (...) {
      one.failed(std::current_exception());
    }
  }
  waiting.clear();
  lock.lock();
  hands_out_ = false;
  changed_.notify_all();
}

// Nobody is made to wait by who is told.
void ModelPool::tell(Lock& lock, const PoolEvent& event) {
  if (!options_.on_event) return;
  lock.unlock();
  options_.on_event(event);
  lock.lock();
}

void ModelPool::unload(Lock& lock, Place& place) {
  const auto start = std::chrono::steady_clock::now();
  place.goes = true;
  std::shared_ptr<LoadedModel> going = place.loaded;
  lock.unlock();
  going->scheduler.drain(kUntilDone);
  going->scheduler.stop();  // its counts are whole then
  lock.lock();
  place.past += going->scheduler.state().metrics;
  place.loaded.reset();
  place.goes = false;
  lock.unlock();
  going.reset();  // before what takes its place is there
  lock.lock();
  tell(lock,
       {.model = place.model.name, .is_loaded = false, .seconds = seconds_since(start), .bytes = place.model.bytes});
}

bool ModelPool::make_room_for(Lock& lock, const Place& place) {
  while (!ends_ && taken() > options_.memory - std::min(place.model.bytes, options_.memory)) {
    Place* oldest = nullptr;
    const auto rank = [](const Place& one) { return std::pair(!is_idle(one), one.last_used); };
    for (Place& one : places_)
      if (one.loaded && (oldest == nullptr || rank(one) < rank(*oldest))) oldest = &one;
    unload(lock, *oldest);
  }
  return !ends_;
}

// Where it fails the lock is not held: a model that does not fit ends meanwhile, which takes its time.
std::shared_ptr<LoadedModel> ModelPool::bring(Lock& lock, Place& place) {
  const Error ended(ErrorKind::cancelled, "the pool ends");
  PooledModel& model = place.model;
  lock.unlock();
  expect_room_for(model);  // only this thread writes it
  if (model.judge) model.judge();
  lock.lock();
  const bool has_room = make_room_for(lock, place);
  lock.unlock();
  if (!has_room) throw ended;
  std::shared_ptr<LoadedModel> loaded = model.load([this](const Progress&) { return !ends_; });
  const std::uint64_t bytes = loaded->bytes();
  lock.lock();
  model.bytes = bytes;  // what was reckoned before may have been less than it is
  lock.unlock();
  expect_room_for(model);
  lock.lock();
  if (make_room_for(lock, place)) return loaded;
  lock.unlock();
  throw ended;
}

void ModelPool::work() {
  Lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ends_ || !wanted_.empty(); });
    if (ends_) return;
    Place& place = places_[wanted_.front()];
    wanted_.pop_front();
    const auto start = std::chrono::steady_clock::now();
    PoolEvent event{.model = place.model.name};
    std::shared_ptr<LoadedModel> loaded;
    std::exception_ptr failure;
    try {
      loaded = bring(lock, place);
    } catch (const std::exception& error) {
      event.error = error.what();
      failure = std::make_exception_ptr(
          LoadFailure(fmt::format("model '{}' cannot be loaded: {}", place.model.name, event.error)));
    }
    if (!lock.owns_lock()) lock.lock();
    event.is_loaded = loaded != nullptr;
    event.seconds = seconds_since(start);
    event.bytes = place.model.bytes;
    tell(lock, event);
    place.is_wanted = false;
    place.failure = failure;
    place.fails_until = std::chrono::steady_clock::now() + options_.retry;
    if (loaded) ++place.loads;
    place.loaded = std::move(loaded);
    hand_out(lock, place, failure);
  }
}

}  // namespace nibble::serve
