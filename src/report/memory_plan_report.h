// SPDX-License-Identifier: Apache-2.0
//
// A memory plan for people and for scripts.
#pragma once

#include <string>

#include "pipeline/tell/memory_plan.h"
#include "report/json_report.h"
#include "report/table.h"

namespace nibble {

std::string memory_plan_text(const MemoryPlan& plan, const TableStyle& style);

// model, shape, scaled, parameters, context, memory_bytes, headroom_bytes, activation_bytes, cache [{type, bytes,
// bytes_per_token}], bandwidth_bytes_per_second, formats [{format, bits_per_weight, bytes, fits, longest_context,
// tokens_per_second, tokens_per_second_full}], best {format, cache} or null
Json to_json(const MemoryPlan& plan);

}  // namespace nibble
