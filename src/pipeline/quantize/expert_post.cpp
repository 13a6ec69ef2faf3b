// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/expert_post.h"

#include <cstring>

namespace nibble {

ExpertPost::ExpertPost(Transport& transport, ExpertRange experts, std::size_t width, bool has_targets)
    : transport_(transport), experts_(experts), width_(width), has_targets_(has_targets), rows_(transport.size()) {}

void ExpertPost::add(std::size_t index, std::span<const float> x, std::span<const float> y) {
  tokens_.push_back(x.size() / width_);
  std::vector<float>& rows = rows_[maker(index)];
  rows.insert(rows.end(), x.begin(), x.end());
  if (has_targets_) rows.insert(rows.end(), y.begin(), y.end());
}

void ExpertPost::deliver(const std::string& what, const Take& take) {
  const std::vector<Bytes> counts = transport_.all_gather(std::as_bytes(std::span(tokens_)), what);
  std::vector<std::span<const std::byte>> to;
  for (const std::vector<float>& rows : rows_) to.push_back(std::as_bytes(std::span(rows)));
  std::vector<Bytes> received = transport_.exchange(to, what);
  rows_.assign(transport_.size(), {});
  tokens_.clear();
  std::vector<float> x, y;
  for (std::size_t from = 0; from < received.size(); ++from) {
    std::vector<std::uint64_t> tokens(counts[from].size() / sizeof(std::uint64_t));
    if (!tokens.empty()) std::memcpy(tokens.data(), counts[from].data(), counts[from].size());
    std::size_t at = 0;
    const auto read = [&](std::vector<float>& values, std::uint64_t count) {
      values.resize(count * width_);
      if (!values.empty()) std::memcpy(values.data(), &received[from][at], values.size() * sizeof(float));
      at += values.size() * sizeof(float);
    };
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const std::size_t index = i % num_experts();
      if (!is_mine(index)) continue;
      read(x, tokens[i]);
      if (has_targets_) read(y, tokens[i]);
      take(index, x, y);
    }
    received[from] = {};
  }
}

}  // namespace nibble
