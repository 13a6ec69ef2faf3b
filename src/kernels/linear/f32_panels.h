// SPDX-License-Identifier: Apache-2.0
//
// The walk over panels of 64 rows that all products share. Those in f32 make, chunk by chunk of columns, an f32 panel
// and multiply all tokens with it.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>

#include "kernels/kernel_table.h"
#include "kernels/linear/packed_weights.h"

namespace nibble {

// Calls body(panel, worker) for each panel. Threads start far apart and walk on, so that each reads one long stream;
// who is done helps the others.
template <class Body>
void for_each_panel(ThreadPool& pool, std::size_t count, Body&& body) {
  struct alignas(64) Share {
    std::atomic<std::size_t> next;
    std::size_t end;
  };
  constexpr std::size_t kMostShares = 64;
  const std::size_t threads = pool.num_threads(),
                    num_shares = std::clamp<std::size_t>(std::min(threads, count), 1, kMostShares);
  std::array<Share, kMostShares> shares;
  for (std::size_t s = 0; s < num_shares; ++s) {
    shares[s].next.store(count * s / num_shares, std::memory_order_relaxed);
    shares[s].end = count * (s + 1) / num_shares;
  }
  pool.parallel_for(threads, 1, [&](std::size_t first, std::size_t, std::size_t worker) {
    for (std::size_t i = 0; i < num_shares; ++i) {
      Share& share = shares[(first + i) % num_shares];
      for (std::size_t p = share.next.fetch_add(1, std::memory_order_relaxed); p < share.end;
           p = share.next.fetch_add(1, std::memory_order_relaxed))
        body(p, worker);
    }
  });
}

inline constexpr std::size_t kF32Depth =
    256;  // columns of a chunk: its panel of 64 KiB stays in the second-level cache
inline constexpr std::size_t kTokenBlock = 512;  // tokens whose results are kept beside it

inline std::size_t num_panels(std::uint64_t rows) {
  return static_cast<std::size_t>((rows + kPanelRows - 1) / kPanelRows);
}

// The results of one panel: into `tile` and copied to y at the end. (Rows of y are often a power of two apart, so that
// a tile's rows would fight for the same cache lines.) A single token writes straight into y when the panel is full.
class PanelOutput {
 public:
  PanelOutput(float* y, std::uint64_t rows, std::size_t panel, std::size_t tokens, float* tile)
      : tokens_(tokens),
        target_(y + panel * kPanelRows),
        rows_(static_cast<std::size_t>(rows)),
        width_(std::min<std::size_t>(kPanelRows, rows_ - panel * kPanelRows)),
        tile_(tile) {}
  // Results of these tokens may be written where they belong instead: rows() apart, `finish` is not called for them.
  // Null: they may not.
  float* target(std::size_t token) const { return width_ == kPanelRows ? target_ + token * rows_ : nullptr; }
  std::size_t rows() const { return rows_; }
  float* data(std::size_t token) const { return direct() ? target_ + token * rows_ : tile_; }
  std::size_t stride() const { return direct() ? rows_ : kPanelRows; }
  void finish(const KernelTable& kernels, std::size_t token, std::size_t tokens) const {
    if (direct()) return;
    if (width_ == kPanelRows) return kernels.store_tile(tile_, tokens, target_ + token * rows_, rows_);
    for (std::size_t t = 0; t < tokens; ++t)
      std::memcpy(target_ + (token + t) * rows_, tile_ + t * kPanelRows, width_ * sizeof(float));
  }

 private:
  bool direct() const { return width_ == kPanelRows && tokens_ == 1; }
  std::size_t tokens_;
  float* target_;
  std::size_t rows_, width_;
  float* tile_;
};

}  // namespace nibble
