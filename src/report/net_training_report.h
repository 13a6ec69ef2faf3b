// SPDX-License-Identifier: Apache-2.0
//
// What training a small net did, for people and as JSON.
#pragma once

#include <string>

#include "pipeline/net/train_net.h"
#include "report/json_report.h"
#include "report/table.h"

namespace nibble {

// A row for each product whose weights were rounded.
Table trained_parts_table(const TrainNetSummary& summary);
std::string net_training_text(const TrainNetSummary& summary);
Json to_json(const TrainNetSummary& summary);

}  // namespace nibble
