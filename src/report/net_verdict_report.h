// SPDX-License-Identifier: Apache-2.0
//
// A net beside its original, for people and as JSON.
#pragma once

#include <string>

#include "pipeline/net/compare_net.h"
#include "pipeline/net/detections.h"
#include "pipeline/net/judge_net.h"
#include "report/json_report.h"
#include "report/table.h"

namespace nibble {

// Accuracy of both where labels were given, decisions that are the same, outputs.
std::string net_verdict_text(const NetVerdict& verdict);
// A row for each value that both files have: how near it is to the original's.
Table net_distances_table(const NetVerdict& verdict);
Json to_json(const NetVerdict& verdict);
std::string detection_verdict_text(const DetectionVerdict& verdict);
Json to_json(const DetectionVerdict& verdict);
// A row for each format.
Table net_comparison_table(const NetComparison& comparison);
Json to_json(const NetComparison& comparison);

}  // namespace nibble
