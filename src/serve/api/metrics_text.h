// SPDX-License-Identifier: Apache-2.0
//
// A scheduler's state as Prometheus reads it (text format 0.0.4).
#pragma once

#include <string>

#include "serve/scheduler.h"

namespace nibble::serve {

std::string metrics_text(const SchedulerState& state, std::size_t connections);

}  // namespace nibble::serve
