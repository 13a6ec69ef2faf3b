// SPDX-License-Identifier: Apache-2.0
//
// Ranks that are threads of one process, for tests: the same calls, nothing to install.
//
//   run_ranks(3, {}, [&](Transport& transport) { ... });
#pragma once

#include <cstddef>
#include <functional>

#include "distribute/transport.h"

namespace nibble {

// Calls act once for each rank, each on a thread of its own, and returns when all have returned. What any of them
// throws ends the others at their next call; the first error by rank is thrown here, in the words of whose it is.
void run_ranks(std::size_t count, const TransportOptions& options, const std::function<void(Transport&)>& act);

}  // namespace nibble
