// SPDX-License-Identifier: Apache-2.0
//
// Which of the calibration windows one rank of several walks, and how what ranks sum up becomes one sum. Windows belong
// to a fixed number of shards of consecutive ones; ranks have whole shards, in their order, and every element of the
// shards' sums is added up by one rank in the order of shards, so that the bits do not depend on the number of ranks.
//
//   const WindowShare share = share_windows(tokens.windows(), transport);
//   CalibrationTokens own = tokens_of(tokens, share);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "calibrate/calibration_text.h"
#include "distribute/transport.h"

namespace nibble {

// Into how many shards the windows are cut, whoever sums them up.
inline constexpr std::size_t kMomentShards = 16;

struct WindowShare {
  // total: of all ranks; 0: what belongs to one shard. first: of this rank. transport: null where one process has all.
  WindowShare(std::size_t total_windows = 0, std::size_t first_window = 0, Transport* ranks = nullptr)
      : total(total_windows), first(first_window), transport(ranks) {}

  std::size_t total, first;
  Transport* transport;
};

inline std::size_t shard_of_window(std::size_t window, std::size_t total) { return window * kMomentShards / total; }

// The rank's windows are `first` up to that of the next rank (end_of_windows). Ranks beyond the shards have none.
WindowShare share_windows(std::size_t total, Transport* transport);
std::size_t end_of_windows(const WindowShare& share);
// Of all windows' tokens this rank's.
CalibrationTokens tokens_of(const CalibrationTokens& tokens, const WindowShare& share);

// What ranks have summed up, shard by shard, [shards][count], becomes the sums of all, the same on all ranks.
// Collective. what: as Transport's.
std::vector<float> add_shards(const std::vector<std::vector<float>>& shards, std::size_t count, Transport& transport,
                              std::string_view what);
std::vector<double> add_shards(const std::vector<std::vector<double>>& shards, std::size_t count, Transport& transport,
                               std::string_view what);
// Whole numbers, of which the order does not matter, element by element.
void add_counts(std::span<std::uint64_t> counts, Transport* transport, std::string_view what);

}  // namespace nibble
