// SPDX-License-Identifier: Apache-2.0
#include "nibble/plan.h"

#include "pipeline/tell/memory_plan.h"

namespace nibble {

MemoryPlan plan(const MemoryPlanRequest& request) { return plan_memory(request); }

}  // namespace nibble
