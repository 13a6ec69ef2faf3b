// SPDX-License-Identifier: Apache-2.0
//
// How long work reports where it is. The library never prints; it calls back.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace nibble {

struct Progress {
  std::string_view stage;  // "quantize", "evaluate": valid during the call only
  std::string_view item;   // what is at work now, for example a tensor's name; may be empty
  std::uint64_t done = 0;  // in units of the stage (bytes, tokens, tensors)
  std::uint64_t total = 0;
};

// Called at most ten times a second from one thread at a time. Returning false cancels: the work stops at the next safe
// point with Error(cancelled) and leaves nothing half-written. An empty function means no reports.
using ProgressCallback = std::function<bool(const Progress&)>;

}  // namespace nibble
