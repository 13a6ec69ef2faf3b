// SPDX-License-Identifier: Apache-2.0
//
// The rows that experts read, on their way from the ranks whose windows they are of to the ranks that make the experts:
// tokens move, for there are fewer of their numbers than of moments. An expert's maker adds them up window by window in
// the order of all windows, as one process would. Internal to pipeline/; one thread at a time.
//
//   ExpertPost post(transport, experts, width, true);
//   for (window ...) for (expert ...) post.add(i, x, y);                 // of the windows here
//   post.deliver("down_in", [&](std::size_t i, auto x, auto y) { ... });   // of all windows, for the experts made here
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "pipeline/quantize/site_view.h"

namespace nibble {

class ExpertPost {
 public:
  // has_targets: whether a row of the original's belongs to each.
  ExpertPost(Transport& transport, ExpertRange experts, std::size_t width, bool has_targets);

  bool is_mine(std::size_t index) const { return maker(index) == transport_.rank(); }
  // The next window's rows of an expert of the range, [tokens, width]; window by window, and in each the experts in
  // order.
  void add(std::size_t index, std::span<const float> x, std::span<const float> y);
  // Collective.
  using Take = std::function<void(std::size_t index, std::span<const float> x, std::span<const float> y)>;
  void deliver(const std::string& what, const Take& take);

 private:
  std::size_t maker(std::size_t index) const {
    return maker_of(experts_.begin + static_cast<std::int64_t>(index), transport_);
  }
  std::size_t num_experts() const { return static_cast<std::size_t>(experts_.end - experts_.begin); }

  Transport& transport_;
  ExpertRange experts_;
  std::size_t width_;
  bool has_targets_;
  std::vector<std::vector<float>> rows_;  // by rank that they go to
  std::vector<std::uint64_t> tokens_;     // [windows, experts], of the windows here
};

}  // namespace nibble
