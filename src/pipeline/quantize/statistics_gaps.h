// SPDX-License-Identifier: Apache-2.0
//
// What statistics that were read do not tell of the tensors that a plan would round by them. Internal to pipeline/.
//
//   const StatisticsGaps gaps = find_gaps(plan, options);
//   if (options.strict) require_no_gaps(gaps);
#pragma once

#include <string>
#include <vector>

#include "pipeline/quantize/quantize_plan.h"

namespace nibble {

struct StatisticsGaps {
  std::vector<std::string>
      missing;  // layers' matrices, as the output spells them, whose inputs the statistics do not have
  std::vector<std::string>
      missing_head;  // the same of the output matrix, which may be the embedding: llama.cpp collects none for it
  std::vector<std::string> shallow;  // layers' matrices whose method weighs inputs against each other, of which the
                                     // statistics know squares only
  std::vector<std::string> silent;   // tensors whose inputs were never seen, or only as zeros
};

// Empty where no statistics are given or no tensor's method asks for them.
StatisticsGaps find_gaps(const QuantizePlan& plan, const QuantizeModelOptions& options);

// Error(unusable_input) where a method is given less than it is made of: it would be another method by its name.
void require_second_moments(const StatisticsGaps& gaps);

// Error(unsupported) names the tensors. Nothing of the output matrix alone is as usual and no error.
void require_no_gaps(const StatisticsGaps& gaps);

// True when nothing was seen at the site but zeros: such numbers weigh nothing and are not used.
bool is_silent(const SiteStatistics& site);

// "the statistics have nothing of 7 tensors, which are rounded as if all columns mattered alike: blk.1.attn_q.weight,
// ..."; a line for each kind of gap.
std::vector<std::string> describe_gaps(const StatisticsGaps& gaps);

}  // namespace nibble
