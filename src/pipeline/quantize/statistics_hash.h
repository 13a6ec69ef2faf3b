// SPDX-License-Identifier: Apache-2.0
//
// Statistics by content: what was seen, whatever it was seen of. Internal to pipeline/.
#pragma once

#include <cstdint>

#include "quantize/statistics.h"

namespace nibble {

// Of all numbers of all sites and their keys; names and lengths of texts decide nothing and are left out.
std::uint64_t statistics_hash(const Statistics& statistics);

}  // namespace nibble
