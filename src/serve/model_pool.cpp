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

ModelPool::ModelPool(std::vector<PooledModel> models, PoolOptions options) : options_(std::move(options)) {
  for (PooledModel& model : models) {
    expect_room_for(model);
    places_.push_back({.model = std::move(model)});
  }
  thread_ = std::thread([this] { work(); });
}

ModelPool::ModelPool(std::shared_ptr<LoadedModel> model) {
  places_.push_back({.model = {}, .loaded = std::move(model)});
  thread_ = std::thread([this] { work(); });
}

ModelPool::~ModelPool() {
  drain(std::chrono::milliseconds(0));
  thread_.join();
}

bool ModelPool::use(std::size_t model, std::size_t texts, Use use, Failed failed) {
  const std::lock_guard lock(mutex_);
  Place& place = places_[model];
  if (drains_ || texts > options_.most_waiting - std::min(place.waiting_texts, options_.most_waiting)) {
    ++place.rejected;
    return false;
  }
  place.last_used = ++clock_;
  if (place.loaded && !place.goes) {
    use(place.loaded);
    return true;
  }
  place.waiting.push_back({texts, std::move(use), std::move(failed)});
  place.waiting_texts += texts;
  if (!std::exchange(place.is_wanted, true)) wanted_.push_back(model);
  changed_.notify_all();
  return true;
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
  {
    const std::lock_guard lock(mutex_);
    drains_ = ends_ = true;
    for (Place& place : places_) {
      if (place.loaded) loaded.push_back(place.loaded);
      fail_waiting(place, nullptr);
    }
  }
  changed_.notify_all();
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

void ModelPool::fail_waiting(Place& place, const std::exception_ptr& error) {
  for (const Waiting& one : place.waiting) one.failed(error);
  place.waiting.clear();
  place.waiting_texts = 0;
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

void ModelPool::make_room_for(Lock& lock, const Place& place) {
  while (!ends_ && taken() > options_.memory - std::min(place.model.bytes, options_.memory)) {
    Place* oldest = nullptr;
    const auto rank = [](const Place& one) { return std::pair(!is_idle(one), one.last_used); };
    for (Place& one : places_)
      if (one.loaded && (oldest == nullptr || rank(one) < rank(*oldest))) oldest = &one;
    unload(lock, *oldest);
  }
}

std::shared_ptr<LoadedModel> ModelPool::bring(Lock& lock, Place& place) {
  expect_room_for(place.model);
  make_room_for(lock, place);
  lock.unlock();
  std::shared_ptr<LoadedModel> loaded = place.model.load([this](const Progress&) { return !ends_; });
  lock.lock();
  // What was reckoned before may have been less than it is.
  place.model.bytes = loaded->bytes();
  expect_room_for(place.model);
  make_room_for(lock, place);
  return loaded;
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
      if (!lock.owns_lock()) lock.lock();
      failure = std::current_exception();
      event.error = error.what();
    }
    event.is_loaded = loaded != nullptr;
    event.seconds = seconds_since(start);
    event.bytes = place.model.bytes;
    tell(lock, event);
    place.is_wanted = false;
    if (failure) {
      fail_waiting(place, failure);
      continue;
    }
    place.loaded = std::move(loaded);
    ++place.loads;
    place.waiting_texts = 0;
    for (const Waiting& one : std::exchange(place.waiting, {})) {
      try {
        one.use(place.loaded);
      } catch (...) {
        one.failed(std::current_exception());
      }
    }
  }
}

}  // namespace nibble::serve
