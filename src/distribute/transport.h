// SPDX-License-Identifier: Apache-2.0
//
// What several processes that do one piece of work (ranks, numbered from 0) say to each other. Every rank runs the same
// program and calls the same functions in the same order; all of these return when everybody has called them, and give
// everybody's bytes in the order of ranks, so that whoever adds numbers up does so in an order that does not depend on
// who was faster. Nothing here adds anything up.
//
//   const std::vector<Bytes> all = transport.all_gather(std::as_bytes(std::span(mine)), "sums of layer 3");
//
// Implementations: AloneTransport (below), threads of one process (distribute/thread_transport.h), processes under MPI
// (distribute/mpi_transport.h). One thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/error.h"

namespace nibble {

using Bytes = std::vector<std::byte>;

struct TransportOptions {
  // Ranks that keep the others waiting longer than that are named by `note`; longer than `limit`, by an error.
  std::chrono::milliseconds patience{60'000}, limit{3'600'000};
  std::function<void(const std::string&)> note{};
};

class Transport {
 public:
  explicit Transport(TransportOptions options) : options_(std::move(options)) {}
  virtual ~Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  virtual std::size_t rank() const noexcept = 0;
  virtual std::size_t size() const noexcept = 0;
  bool is_root() const noexcept { return rank() == 0; }
  // "rank 2", and where it runs, where that is known.
  virtual std::string name_of(std::size_t rank) const;

  // to: for each rank what it is sent; its own comes back, too. what: of what this is, for messages. Errors: that of
  // another rank that failed, whose name precedes its message; resource where a rank does not come within the limit,
  // names it.
  std::vector<Bytes> exchange(std::span<const std::span<const std::byte>> to, std::string_view what);
  std::vector<Bytes> all_gather(std::span<const std::byte> mine, std::string_view what);
  // For rank 0; nothing elsewhere.
  std::vector<Bytes> gather(std::span<const std::byte> mine, std::string_view what);
  // Of rank `from`, for all.
  Bytes broadcast(std::span<const std::byte> bytes, std::size_t from, std::string_view what);
  void wait_for_all(std::string_view what) { all_gather({}, what); }

  // Instead of the next call of the others: they get this error. Once any rank has failed nothing more can be said, and
  // this does nothing.
  void fail(const Error& error) noexcept;
  bool has_failed() const noexcept { return has_failed_; }
  // Of a failure that the others may not have heard of: nobody can end in good order any more.
  bool is_lost() const noexcept { return is_lost_; }

 protected:
  struct Outgoing {
    bool is_failure = false;
    std::span<const std::byte> bytes{};
  };
  struct Incoming {
    bool is_failure = false;
    Bytes bytes{};
  };
  virtual std::vector<Incoming> swap(std::span<const Outgoing> to, std::string_view what) = 0;

  // Counts how long somebody has been waiting.
  class Watch {
   public:
    Watch(const Transport& transport, std::string_view what);
    // Called now and then with those that are missed; tells of them, or throws, when it is time to. Of all ranks that
    // wait the first one tells.
    void look(const std::vector<std::size_t>& missing);

   private:
    const Transport& transport_;
    std::string what_;
    std::chrono::steady_clock::time_point start_;
    std::chrono::milliseconds next_;
  };

  TransportOptions options_;
  bool has_failed_ = false, is_lost_ = false;
};

// Somebody who works alone.
class AloneTransport : public Transport {
 public:
  AloneTransport() : Transport({}) {}
  std::size_t rank() const noexcept override { return 0; }
  std::size_t size() const noexcept override { return 1; }

 protected:
  std::vector<Incoming> swap(std::span<const Outgoing> to, std::string_view what) override;
};

// True of somebody who does not. null: alone.
inline bool is_shared(const Transport* transport) { return transport != nullptr && transport->size() > 1; }

// Where the share of a rank begins of `count` things in a row that `size` ranks share; that of rank `size` is the end.
constexpr std::size_t begin_of_share(std::size_t count, std::size_t rank, std::size_t size) {
  return count / size * rank + (count % size) * rank / size;
}

}  // namespace nibble
