// SPDX-License-Identifier: Apache-2.0
//
// Quantizing with a judge at the door: the finished output is read side by side with its source before it takes its
// place, and does so only when it meets what is required. A bad model never replaces a good one.
//
//   VerifiedQuantization result = quantize_verified(source, options, {.texts = texts, .requirements =
//   parse_requirements("kl<=0.02")}, machine, {}); if (!result.released) explain(result.acceptance);
#pragma once

#include <optional>
#include <vector>

#include "evaluate/acceptance.h"
#include "kernels/machine.h"
#include "pipeline/judge/judge_models.h"
#include "pipeline/quantize/quantize_model.h"

namespace nibble {

struct VerifyOptions {
  std::vector<NamedText> texts{};
  std::vector<Requirement> requirements{};  // none: the output is measured and released
  JudgeOptions judge{};                     // keep_partial, progress and split_required are not looked at
};

struct VerifiedQuantization {
  QuantizeSummary summary;  // of what was or would have been written; output_bytes is 0 when it was not released
  PairedVerdict verdict;
  std::optional<Acceptance> acceptance;  // when something was required
  bool released = false;                 // nothing is left behind otherwise
};

// Errors of quantize_model and judge_models. Texts and tokenizer are judged before the work begins.
VerifiedQuantization quantize_verified(const SourceModel& source, const QuantizeModelOptions& options,
                                       const VerifyOptions& verify, Machine& machine, const ProgressCallback& progress);

}  // namespace nibble
