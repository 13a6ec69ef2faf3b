// SPDX-License-Identifier: Apache-2.0
//
// How long something took. Safe from any thread.
//
//   const auto start = std::chrono::steady_clock::now();
//   ...
//   const double seconds = seconds_since(start);
#pragma once

#include <chrono>

namespace nibble {

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace nibble
