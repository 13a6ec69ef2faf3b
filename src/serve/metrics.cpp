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
