// SPDX-License-Identifier: Apache-2.0
//
// A small net in a table and as JSON.
#pragma once

#include <string>

#include "pipeline/net/net_portrait.h"
#include "pipeline/net/net_speed.h"
#include "pipeline/net/run_net.h"
#include "report/json_report.h"
#include "report/table.h"

namespace nibble {

std::string net_headline(const NetPortrait& portrait);
Table operations_table(const NetPortrait& portrait);
Json to_json(const NetPortrait& portrait);
// A line for each output: its shape, range and mean, and its largest numbers.
Table outputs_table(const NetRun& run);
Json to_json(const NetRun& run);
// In microseconds, or milliseconds from one on.
std::string run_time_text(double seconds);
// One line: what the net takes, for how much work.
Table speed_table(const NetSpeed& speed, const std::string& file);
Json to_json(const NetSpeed& speed);

}  // namespace nibble
