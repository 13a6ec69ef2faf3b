// SPDX-License-Identifier: Apache-2.0
//
// What quantization changed: figures with 95 % intervals, for each text and for all texts together, and how candidates
// compare with each other. Blocks of the bootstrap are windows, joined where neighbours are still correlated.
//
//   PairedVerdict verdict = judge(pass, {"q4_k_m.gguf"}, pool);
//   const Figure& kl = verdict.candidates[0].overall[Metric::kl_mean];
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/intervals.h"
#include "evaluate/layer_errors.h"
#include "evaluate/metrics.h"
#include "evaluate/side_by_side.h"
#include "nibble/evaluate.h"

namespace nibble {

// From what the pass has read so far: only whole windows, at least one. names: of all candidates or of the first few
// that are wanted; none: the original's perplexity alone. Error(unusable_input) when not even one window was read.
PairedVerdict judge(const SideBySide& pass, const std::vector<std::string>& names, ThreadPool& pool);

}  // namespace nibble
