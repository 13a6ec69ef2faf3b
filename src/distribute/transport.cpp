// SPDX-License-Identifier: Apache-2.0
#include "distribute/transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace nibble {
namespace {

// A byte for the kind, then the message.
Bytes packed(const Error& error) {
  const std::string text = error.what();
  Bytes bytes(1 + text.size());
  bytes[0] = static_cast<std::byte>(error.kind());
  std::memcpy(bytes.data() + 1, text.data(), text.size());
  return bytes;
}

[[noreturn]] void raise(const Bytes& bytes, const std::string& rank) {
  throw Error(static_cast<ErrorKind>(bytes[0]),
              rank + ": " + std::string(reinterpret_cast<const char*>(bytes.data()) + 1, bytes.size() - 1));
}

}  // namespace

std::string Transport::name_of(std::size_t rank) const { return fmt::format("rank {}", rank); }

std::vector<Bytes> Transport::exchange(std::span<const std::span<const std::byte>> to, std::string_view what) {
  std::vector<Outgoing> outgoing;
  for (const std::span<const std::byte> bytes : to) outgoing.push_back({.bytes = bytes});
  std::vector<Incoming> incoming;
  try {
    incoming = swap(outgoing, what);
  } catch (...) {
    has_failed_ = is_lost_ = true;  // what the others say from here on belongs to nothing
    throw;
  }
  std::vector<Bytes> received;
  for (std::size_t from = 0; from < incoming.size(); ++from) {
    if (incoming[from].is_failure) {
      has_failed_ = true;
      raise(incoming[from].bytes, name_of(from));
    }
    received.push_back(std::move(incoming[from].bytes));
  }
  return received;
}

std::vector<Bytes> Transport::all_gather(std::span<const std::byte> mine, std::string_view what) {
  return exchange(std::vector(size(), mine), what);
}

std::vector<Bytes> Transport::gather(std::span<const std::byte> mine, std::string_view what) {
  std::vector<std::span<const std::byte>> to(size());
  to.front() = mine;
  std::vector<Bytes> received = exchange(to, what);
  return is_root() ? received : std::vector<Bytes>{};
}

Bytes Transport::broadcast(std::span<const std::byte> bytes, std::size_t from, std::string_view what) {
  std::vector<std::span<const std::byte>> to(size());
  if (rank() == from) to.assign(size(), bytes);
  return std::move(exchange(to, what)[from]);
}

void Transport::fail(const Error& error) noexcept {
  if (has_failed_) return;
  has_failed_ = true;
  try {
    const Bytes bytes = packed(error);
    const std::vector<Outgoing> to(size(), {.is_failure = true, .bytes = bytes});
    swap(to, "the end of all after an error");
  } catch (const std::exception&) {
    is_lost_ = true;  // whoever does not come has ended already
  }
}

Transport::Watch::Watch(const Transport& transport, std::string_view what)
    : transport_(transport),
      what_(what),
      start_(std::chrono::steady_clock::now()),
      next_(transport.options_.patience) {}

void Transport::Watch::look(const std::vector<std::size_t>& missing) {
  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start_);
  const bool is_over = waited >= transport_.options_.limit;
  if (missing.empty() || (waited < next_ && !is_over)) return;
  constexpr std::size_t kMostNamed = 8;
  std::string names;
  for (std::size_t i = 0; i < missing.size() && i < kMostNamed; ++i)
    names += (i == 0 ? "" : ", ") + transport_.name_of(missing[i]);
  if (missing.size() > kMostNamed) names += fmt::format(" and {} more", missing.size() - kMostNamed);
  const std::string text = fmt::format("{} waits for {} since {} s: {}", transport_.name_of(transport_.rank()), names,
                                       std::chrono::duration_cast<std::chrono::seconds>(waited).count(), what_);
  if (is_over) throw Error(ErrorKind::resource, text + "; see what became of it, and give the same command to go on");
  std::size_t first = 0;
  while (std::ranges::find(missing, first) != missing.end()) ++first;
  if (transport_.options_.note && first == transport_.rank()) transport_.options_.note(text);
  next_ = 2 * waited;
}

std::vector<Transport::Incoming> AloneTransport::swap(std::span<const Outgoing> to, std::string_view) {
  return {{to.front().is_failure, Bytes(to.front().bytes.begin(), to.front().bytes.end())}};
}

}  // namespace nibble
