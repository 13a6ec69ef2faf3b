// SPDX-License-Identifier: Apache-2.0
//
// An explanation for people and for scripts.
#pragma once

#include <string>

#include "pipeline/tell/explain.h"
#include "report/json_report.h"
#include "report/table.h"

namespace nibble {

std::string explanation_text(const Explanation& explanation, const TableStyle& style);

// format, description, bits_per_weight, group, range [low, high], fitted_on, grid [{name, formula, value}], rule,
// points, numbers [{given, code, decoded, error, how}]; asymmetric integers also zero_points {signed, unsigned,
// example, mixed_up}
Json to_json(const Explanation& explanation);

}  // namespace nibble
