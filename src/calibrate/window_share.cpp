// SPDX-License-Identifier: Apache-2.0
#include "calibrate/window_share.h"

#include <algorithm>
#include <cstring>

namespace nibble {
namespace {

template <class T>
std::vector<T> add(const std::vector<std::vector<T>>& shards, std::size_t count, Transport& transport,
                   std::string_view what) {
  const auto begin_of = [&](std::size_t rank) { return begin_of_share(count, rank, transport.size()); };
  // To each rank its elements of all shards here.
  std::vector<std::vector<T>> pieces(transport.size());
  std::vector<std::span<const std::byte>> to;
  for (std::size_t rank = 0; rank < transport.size(); ++rank) {
    for (const std::vector<T>& shard : shards)
      pieces[rank].insert(pieces[rank].end(), shard.begin() + static_cast<std::ptrdiff_t>(begin_of(rank)),
                          shard.begin() + static_cast<std::ptrdiff_t>(begin_of(rank + 1)));
    to.push_back(std::as_bytes(std::span(pieces[rank])));
  }
  const std::vector<Bytes> received = transport.exchange(to, what);
  pieces.clear();
  std::vector<T> own(begin_of(transport.rank() + 1) - begin_of(transport.rank()));
  std::vector<T> shard(own.size());
  for (const Bytes& bytes : received)
    for (std::size_t at = 0; at < bytes.size() && !own.empty(); at += own.size() * sizeof(T)) {
      std::memcpy(shard.data(), &bytes[at], own.size() * sizeof(T));
      for (std::size_t i = 0; i < own.size(); ++i) own[i] += shard[i];
    }
  std::vector<T> sums(count);
  const std::vector<Bytes> all = transport.all_gather(std::as_bytes(std::span(own)), what);
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if (!all[rank].empty()) std::memcpy(&sums[begin_of(rank)], all[rank].data(), all[rank].size());
  return sums;
}

}  // namespace

WindowShare share_windows(std::size_t total, Transport* transport) {
  if (!is_shared(transport)) return {total};
  std::size_t first = 0;
  const std::size_t shard = begin_of_share(kMomentShards, transport->rank(), transport->size());
  while (first < total && shard_of_window(first, total) < shard) ++first;
  return {total, first, transport};
}

std::size_t end_of_windows(const WindowShare& share) {
  if (!is_shared(share.transport)) return share.total;
  std::size_t end = share.first;
  const std::size_t shard = begin_of_share(kMomentShards, share.transport->rank() + 1, share.transport->size());
  while (end < share.total && shard_of_window(end, share.total) < shard) ++end;
  return end;
}

CalibrationTokens tokens_of(const CalibrationTokens& tokens, const WindowShare& share) {
  CalibrationTokens own = tokens;
  const auto at = [&](std::size_t window) {
    return tokens.ids.begin() + static_cast<std::ptrdiff_t>(window * tokens.length);
  };
  own.ids.assign(at(share.first), at(end_of_windows(share)));
  return own;
}

std::vector<float> add_shards(const std::vector<std::vector<float>>& shards, std::size_t count, Transport& transport,
                              std::string_view what) {
  return add(shards, count, transport, what);
}

std::vector<double> add_shards(const std::vector<std::vector<double>>& shards, std::size_t count, Transport& transport,
                               std::string_view what) {
  return add(shards, count, transport, what);
}

void add_counts(std::span<std::uint64_t> counts, Transport* transport, std::string_view what) {
  if (!is_shared(transport)) return;
  const std::vector<Bytes> all = transport->all_gather(std::as_bytes(counts), what);
  std::ranges::fill(counts, 0);
  std::uint64_t count = 0;
  for (const Bytes& bytes : all)
    for (std::size_t i = 0; i < counts.size(); ++i) {
      std::memcpy(&count, &bytes[i * sizeof count], sizeof count);
      counts[i] += count;
    }
}

}  // namespace nibble
