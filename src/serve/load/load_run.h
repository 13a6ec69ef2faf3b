// SPDX-License-Identifier: Apache-2.0
//
// A server under load: so many clients that each ask again once they are answered, or requests that come by chance at a
// rate, and how long they waited. Talks to this machine alone and ends by itself.
//
//   const LoadFigures figures = run_load(address, {.clients = 8, .requests = 64});
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nibble/progress.h"
#include "serve/load/http_call.h"

namespace nibble::serve {

struct LoadSettings {
  std::size_t clients = 8;  // ask again once they are answered
  double rate = 0;          // requests per second, as a Poisson process, in place of clients; 0: none
  std::size_t requests = 64;
  double most_seconds = 300;  // after these nothing more is asked
  std::size_t prompt_tokens = 128, new_tokens = 64;
  std::uint64_t seed = 1;  // of prompts, which have nothing in common, and of arrivals
  std::string key = {};
  // What a request has to keep to count as good.
  double most_first_token_seconds = 2, most_token_seconds = 0.2;
  ProgressCallback progress = {};  // stage "load", in requests
};

// In seconds.
struct Percentiles {
  double p50 = 0, p95 = 0, p99 = 0;
};
// Each the smallest value that so many of a hundred do not exceed. values: in any order; none: zeros.
Percentiles percentiles_of(std::vector<double> values);

struct LoadFigures {
  std::size_t requests = 0, answered = 0, refused = 0, failed = 0;  // refused: 429 or 503
  std::size_t tokens = 0;                                           // that were made
  double seconds = 0;                                               // from the first request to the last answer
  double tokens_per_second = 0, requests_per_second = 0;
  double good_share = 0;  // of all requests, those that kept both times
  Percentiles first_token = {}, between_tokens = {}, whole = {};
};

// How many requests may be on their way at the same time; what a rate asks for beyond that comes later.
inline constexpr std::size_t kMostOnTheirWay = 1024;

// Error(invalid_argument): no clients, or more than kMostOnTheirWay; no requests; io: nobody answers there; cancelled.
LoadFigures run_load(const LoopbackAddress& address, const LoadSettings& settings);

}  // namespace nibble::serve
