// SPDX-License-Identifier: Apache-2.0
//
// What a plan should tell whoever asked for it: what stays as it is, what other programs make of it. Internal to
// pipeline/quantize. A sentence each; empty: nothing to say.
#pragma once

#include <string>

#include "pipeline/quantize/quantize_plan.h"

namespace nibble {

std::string stacked_note(const QuantizePlan& plan);
void note_uncoded(QuantizePlan& plan, bool strict);
std::string nothing_note(const QuantizePlan& plan);
std::string foreign_words_note(const SourceModel& source);
std::string window_note(const QuantizePlan& plan);
std::string fault_note(const QuantizePlan& plan);
std::string yarn_note(const QuantizePlan& plan);
std::string experts_note(const QuantizePlan& plan);

}  // namespace nibble
