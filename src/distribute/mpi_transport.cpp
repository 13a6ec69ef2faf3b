// SPDX-License-Identifier: Apache-2.0
#include "distribute/mpi_transport.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <thread>
#include <utility>

#include "distribute/mpi_plugin.h"

namespace nibble {
namespace {

constexpr const char* kPlugin = "nibble-mpi.so";

std::vector<std::filesystem::path> places_of_plugin() {
  if (const char* const given = std::getenv("NIBBLE_MPI"); given != nullptr && *given != '\0') return {given};
  std::error_code ignored;
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  return {here / kPlugin, here.parent_path() / NIBBLE_PLUGIN_DIRECTORY / kPlugin};
}

const nibble_mpi_functions* load_plugin() {
  constexpr std::string_view kInstall =
      "ranks need Open MPI (Debian: apt-get install openmpi-bin libopenmpi-dev) and nibble-mpi.so, which a build makes "
      "where the former is installed";
  const std::vector<std::filesystem::path> places = places_of_plugin();
  std::error_code ignored;
  const auto found = std::ranges::find_if(
      places, [&](const std::filesystem::path& path) { return std::filesystem::exists(path, ignored); });
  if (found == places.end())
    throw Error(ErrorKind::unsupported, fmt::format("{}; not there: {}", kInstall, places.front().string()));
  // Global, for libraries that MPI itself loads look for its symbols.
  void* const library = dlopen(found->c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) throw Error(ErrorKind::unsupported, fmt::format("{}; {}", kInstall, dlerror()));
  using Entry = const nibble_mpi_functions* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "nibble_mpi"));
  const nibble_mpi_functions* const functions = entry == nullptr ? nullptr : entry();
  if (functions == nullptr || functions->interface != NIBBLE_MPI_INTERFACE)
    throw Error(ErrorKind::unsupported, fmt::format("this is no nibble-mpi.so of this version of nibble; build both "
                                                    "together, or name the right one by NIBBLE_MPI: {}",
                                                    found->string()));
  return functions;
}

// What a rank says before its bytes.
struct Header {
  std::uint64_t is_failure = 0, count = 0;
};

constexpr std::size_t kHostBytes = 256;

class MpiTransport : public Transport {
 public:
  MpiTransport(const nibble_mpi_functions& mpi, TransportOptions options) : Transport(std::move(options)), mpi_(mpi) {
    std::vector<char> host(kHostBytes);
    judge(mpi_.start(&rank_, &size_, host.data(), static_cast<int>(host.size())), "begin");
    hosts_.resize(size());
    const std::vector<Bytes> all =
        all_gather(std::as_bytes(std::span(host.data(), std::strlen(host.data()))), "the ranks' names");
    for (std::size_t i = 0; i < all.size(); ++i)
      hosts_[i].assign(reinterpret_cast<const char*>(all[i].data()), all[i].size());
  }
  // Others wait for a rank that ends by an error of which they have not heard: they are ended with it.
  ~MpiTransport() override {
    const bool is_untold = !has_failed() && std::uncaught_exceptions() > exceptions_;
    if (is_lost() || is_untold) mpi_.abort(1);
    mpi_.finish();
  }

  std::size_t rank() const noexcept override { return static_cast<std::size_t>(rank_); }
  std::size_t size() const noexcept override { return static_cast<std::size_t>(size_); }
  std::string name_of(std::size_t rank) const override {
    const std::string name = Transport::name_of(rank);
    return hosts_.size() > rank && !hosts_[rank].empty() ? fmt::format("{} ({})", name, hosts_[rank]) : name;
  }

 protected:
  std::vector<Incoming> swap(std::span<const Outgoing> to, std::string_view what) override {
    Watch watch(*this, what);
    own_.assign(size(), {});
    others_.assign(size(), {});
    for (std::size_t other = 0; other < size(); ++other) {
      own_[other] = {to[other].is_failure ? 1u : 0u, to[other].bytes.size()};
      if (other == rank()) continue;
      receive(std::as_writable_bytes(std::span(&others_[other], 1)), other);
      send(std::as_bytes(std::span(&own_[other], 1)), other);
    }
    finish_requests(watch);
    others_[rank()] = own_[rank()];
    received_.assign(size(), {});
    for (std::size_t other = 0; other < size(); ++other) {
      received_[other] = {others_[other].is_failure != 0, Bytes(others_[other].count)};
      if (other == rank()) {
        std::ranges::copy(to[other].bytes, received_[other].bytes.begin());
        continue;
      }
      receive(received_[other].bytes, other);
      send(to[other].bytes, other);
    }
    finish_requests(watch);
    return std::exchange(received_, {});
  }

 private:
  struct Request {
    std::size_t other = 0;
    void* handle = nullptr;
  };

  static void judge(int code, const char* act) {
    if (code != 0) throw Error(ErrorKind::io, fmt::format("MPI could not {}: its error {}", act, code));
  }

  void send(std::span<const std::byte> bytes, std::size_t to) {
    for (std::size_t begin = 0; begin < bytes.size(); begin += NIBBLE_MPI_LARGEST) {
      const std::size_t count = std::min<std::size_t>(NIBBLE_MPI_LARGEST, bytes.size() - begin);
      requests_.push_back({to, nullptr});
      judge(mpi_.send(&bytes[begin], count, static_cast<int>(to), &requests_.back().handle), "send");
    }
  }
  void receive(std::span<std::byte> bytes, std::size_t from) {
    for (std::size_t begin = 0; begin < bytes.size(); begin += NIBBLE_MPI_LARGEST) {
      const std::size_t count = std::min<std::size_t>(NIBBLE_MPI_LARGEST, bytes.size() - begin);
      requests_.push_back({from, nullptr});
      judge(mpi_.receive(&bytes[begin], count, static_cast<int>(from), &requests_.back().handle), "receive");
    }
  }

  // Looks at them at once at first, for what is under way comes soon; then seldom, for whoever is not there yet
  // computes and wants the processor.
  void finish_requests(Watch& watch) {
    const auto start = std::chrono::steady_clock::now();
    while (true) {
      bool has_moved = false;
      std::erase_if(requests_, [&](Request& request) {
        int is_done = 0;
        judge(mpi_.test(&request.handle, &is_done), "exchange messages");
        has_moved = has_moved || is_done != 0;
        return is_done != 0;
      });
      if (requests_.empty()) return;
      if (has_moved) continue;
      const auto waited = std::chrono::steady_clock::now() - start;
      if (waited < std::chrono::microseconds(200)) {
        std::this_thread::yield();
        continue;
      }
      std::this_thread::sleep_for(waited < std::chrono::milliseconds(50) ? std::chrono::microseconds(50)
                                                                         : std::chrono::microseconds(1000));
      std::vector<std::size_t> missing;
      for (const Request& request : requests_)
        if (std::ranges::find(missing, request.other) == missing.end()) missing.push_back(request.other);
      watch.look(missing);
    }
  }

  const nibble_mpi_functions& mpi_;
  int rank_ = 0, size_ = 1;
  int exceptions_ = std::uncaught_exceptions();
  std::vector<std::string> hosts_;
  std::vector<Request> requests_;
  // Where requests that are under way write to, and what they say first: an exchange that fails leaves them so.
  std::vector<Header> own_, others_;
  std::vector<Incoming> received_;
};

}  // namespace

std::unique_ptr<Transport> open_mpi(TransportOptions options) {
  return std::make_unique<MpiTransport>(*load_plugin(), std::move(options));
}

}  // namespace nibble
