// SPDX-License-Identifier: Apache-2.0
#include "distribute/thread_transport.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

namespace nibble {
namespace {

// Where ranks meet.
struct MeetingPlace {
  explicit MeetingPlace(std::size_t count) : has_come(count) {}

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> has_come;
  std::uint64_t meetings = 0;   // that are over
  std::optional<Error> broken;  // of the first who left without having met all: nobody meets any more
};

class ThreadTransport : public Transport {
 public:
  using Message = Outgoing;
  using Board = std::vector<std::span<const Message>>;  // by rank what it has for all

  ThreadTransport(std::size_t rank, TransportOptions options, MeetingPlace& place, Board& board)
      : Transport(std::move(options)), rank_(rank), place_(place), board_(board) {}
  std::size_t rank() const noexcept override { return rank_; }
  std::size_t size() const noexcept override { return place_.has_come.size(); }

 protected:
  std::vector<Incoming> swap(std::span<const Outgoing> to, std::string_view what) override {
    board_[rank_] = to;
    Watch watch(*this, what);
    meet(&watch);
    std::vector<Incoming> received;
    std::exception_ptr error;
    try {
      for (const std::span<const Message> messages : board_)
        received.push_back({messages[rank_].is_failure, {messages[rank_].bytes.begin(), messages[rank_].bytes.end()}});
    } catch (...) {
      error = std::current_exception();
    }
    meet(nullptr);  // whose messages others still read may not go on
    if (error) std::rethrow_exception(error);
    return received;
  }

 private:
  // watch: of ranks that may never come; null: all do.
  void meet(Watch* watch) {
    std::unique_lock lock(place_.mutex);
    if (place_.broken) throw Error(*place_.broken);
    place_.has_come[rank_] = true;
    if (std::ranges::find(place_.has_come, false) == place_.has_come.end()) {
      place_.has_come.assign(size(), false);
      ++place_.meetings;
      place_.changed.notify_all();
      return;
    }
    const std::uint64_t meeting = place_.meetings;
    const auto is_over = [&] { return place_.meetings != meeting || place_.broken; };
    while (!place_.changed.wait_for(lock, std::chrono::milliseconds(5), is_over)) {
      if (watch == nullptr) continue;
      std::vector<std::size_t> missing;
      for (std::size_t other = 0; other < size(); ++other)
        if (!place_.has_come[other]) missing.push_back(other);
      try {
        watch->look(missing);
      } catch (const Error& error) {
        place_.broken = error;  // what this rank had for the others is no more
        place_.changed.notify_all();
        throw;
      }
    }
    if (place_.meetings == meeting) throw Error(*place_.broken);
  }

  std::size_t rank_;
  MeetingPlace& place_;
  Board& board_;
};

}  // namespace

void run_ranks(std::size_t count, const TransportOptions& options, const std::function<void(Transport&)>& act) {
  MeetingPlace place(count);
  ThreadTransport::Board board(count);
  std::vector<std::exception_ptr> own(count), of_others(count);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < count; ++rank)
    threads.emplace_back([&, rank] {
      ThreadTransport transport(rank, options, place, board);
      try {
        act(transport);
      } catch (const Error& error) {
        (transport.has_failed() ? of_others : own)[rank] = std::current_exception();
        transport.fail(error);
      } catch (const std::exception& error) {
        own[rank] = std::current_exception();
        transport.fail(Error(ErrorKind::internal, error.what()));
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto* const errors : {&own, &of_others})
    for (const std::exception_ptr& error : *errors)
      if (error) std::rethrow_exception(error);
}

}  // namespace nibble
