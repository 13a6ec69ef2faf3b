// SPDX-License-Identifier: Apache-2.0
//
// What quantizing a small net did, for people and as JSON.
#pragma once

#include <string>
#include <vector>

#include "pipeline/net/quantize_net_file.h"
#include "report/json_report.h"
#include "report/table.h"

namespace nibble {

// A row for each layer with weights, and for products of values: how it computes, and how near it is to f32.
Table net_layers_table(const NetFileSummary& summary);
// What a reader must know: made samples, roundings that were left out, a judgement on what was calibrated with.
std::vector<std::string> net_notes(const NetFileSummary& summary);
std::string net_summary_text(const NetFileSummary& summary);
Json to_json(const NetFileSummary& summary);

}  // namespace nibble
