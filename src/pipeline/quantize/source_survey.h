// SPDX-License-Identifier: Apache-2.0
//
// What has to be known of all of a source's weights before the first is written, found in one pass over their bytes.
//
//   const SourceSurvey survey = survey_source(source, {.hash = true, .peaks = {&source.tensor("lm_head.weight")}},
//   pool); survey.hash;   // "5f0a..."
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "quantize/weight_peak.h"

namespace nibble {

struct SurveyRequest {
  bool hash = true;
  std::vector<const StoredTensor*> peaks{};  // matrices whose largest magnitude is asked for
};

struct SourceSurvey {
  // XXH3-64 over the sorted names of all tensors, each followed by the XXH3-64 of its bytes as they lie in the file; 16
  // hexadecimal digits. Empty where it was not asked for.
  std::string hash;
  std::map<const StoredTensor*, WeightPeak> peaks;
};

// Reads the tensors that are asked for, which are all of them for a hash. The same for any number of threads.
SourceSurvey survey_source(const Checkpoint& checkpoint, const SurveyRequest& request, ThreadPool& pool);

}  // namespace nibble
