// SPDX-License-Identifier: Apache-2.0
#include "serve/metrics.h"

#include <algorithm>

namespace nibble::serve {

void Histogram::add(double seconds) noexcept {
  const auto place = static_cast<std::size_t>(std::ranges::lower_bound(bounds_, seconds) - bounds_.begin());
  if (place < bounds_.size()) ++counts_[place];
  ++count_;
  sum_ += seconds;
}

Histogram& Histogram::operator+=(const Histogram& other) noexcept {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  return *this;
}

Metrics& Metrics::operator+=(const Metrics& other) noexcept {
  for (const auto count : {&Metrics::prompt_tokens, &Metrics::cached_tokens, &Metrics::read_tokens,
                           &Metrics::new_tokens, &Metrics::steps, &Metrics::preemptions, &Metrics::rejected})
    this->*count += other.*count;
  for (std::size_t i = 0; i < finished.size(); ++i) finished[i] += other.finished[i];
  for (const auto histogram : {&Metrics::first_token, &Metrics::between_tokens, &Metrics::whole, &Metrics::queue,
                               &Metrics::prompt, &Metrics::decode})
    this->*histogram += other.*histogram;
  return *this;
}

std::uint64_t Histogram::count_within(std::size_t i) const noexcept {
  std::uint64_t count = 0;
  for (std::size_t place = 0; place <= i; ++place) count += counts_[place];
  return count;
}

std::string_view finish_name(FinishReason reason) {
  constexpr std::array<std::string_view, 4> kNames = {"stop", "length", "cancelled", "failed"};
  return kNames[static_cast<std::size_t>(reason)];
}

std::string_view reuse_name(PrefixReuse reuse) {
  constexpr std::array<std::string_view, 5> kNames = {"reused", "nothing held", "nothing in common",
                                                      "too little in common", "asked to be read"};
  return kNames[static_cast<std::size_t>(reuse)];
}

}  // namespace nibble::serve
