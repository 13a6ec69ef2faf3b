// SPDX-License-Identifier: Apache-2.0
//
// A model that is shortened while it is read: the system raises SIGBUS where a mapped page is no longer there. The
// program then removes what it has written of an output under a temporary name, says which file it was, and exits
// with 1.
#pragma once

namespace nibble::cli {

void catch_lost_sources();

}  // namespace nibble::cli
