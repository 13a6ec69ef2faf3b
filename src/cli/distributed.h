// SPDX-License-Identifier: Apache-2.0
//
// A verb as one of several processes that mpirun or a scheduler has started: --distributed.
//
//   run_in_ranks(session, [&](Transport& ranks) { ... });
#pragma once

#include <functional>

#include "cli/session.h"
#include "distribute/transport.h"

namespace nibble::cli {

// Calls act with the ranks of this job. The first alone is heard: the others print nothing. An error of any rank ends
// all of them, and is told once. Error(unsupported) where MPI is not there.
void run_in_ranks(Session& session, const std::function<void(Transport&)>& act);

}  // namespace nibble::cli
