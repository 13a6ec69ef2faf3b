// SPDX-License-Identifier: Apache-2.0
//
// How long the rest of a piece of work will take, by the pace that it has had. Safe from any thread.
//
//   if (const auto seconds = seconds_left(elapsed, begun, done, total)) print(*seconds);
#pragma once

#include <cstdint>
#include <optional>

namespace nibble {

// elapsed: seconds in which the work went from begun to done (a run that is taken up begins with what lies there), of
// total. Nothing before a fiftieth of what was to do is done: a pace is not known yet.
inline std::optional<double> seconds_left(double elapsed, std::uint64_t begun, std::uint64_t done,
                                          std::uint64_t total) {
  if (done <= begun || done > total || (done - begun) * 50 < total - begun) return std::nullopt;
  return elapsed * static_cast<double>(total - done) / static_cast<double>(done - begun);
}

}  // namespace nibble
