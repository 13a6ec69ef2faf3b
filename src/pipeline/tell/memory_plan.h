// SPDX-License-Identifier: Apache-2.0
//
// What of a model fits into a given memory (nibble/plan.h says how it is told). Pure, but for reading a checkpoint's
// headers.
//
//   MemoryPlan plan = plan_memory({.model = "70B", .memory = 24'000'000'000, .bandwidth = 60e9});
//   if (plan.best) use(plan.formats[*plan.best].format);
#pragma once

#include <string>
#include <vector>

#include "nibble/plan.h"

namespace nibble {

// What is shown unless told otherwise, from most to fewest bits.
std::vector<std::string> default_plan_formats();

// Errors as plan()'s.
MemoryPlan plan_memory(const MemoryPlanRequest& request);

}  // namespace nibble
