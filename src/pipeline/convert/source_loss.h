// SPDX-License-Identifier: Apache-2.0
//
// What a model that is quantized already had lost before it is quantized again.
#pragma once

#include <cstddef>
#include <string>

#include "base/thread_pool.h"
#include "model/source_model.h"
#include "nibble/progress.h"

namespace nibble {

struct SourceLoss {
  std::size_t matrices = 0;  // of the source, in codes
  double relative_rms = 0;   // of these: root of the summed squares of differences by those of the original's numbers
  std::string worst;         // the one that differs most, by the source's name
  double worst_relative_rms = 0;
};

// original: what the source was made from, in either container, quantized or not. progress: stage "source", in
// matrices. Errors: invalid_argument, the source has no codes; unusable_input, the two are not of one network.
SourceLoss measure_source_loss(const SourceModel& source, const SourceModel& original, ThreadPool& pool,
                               const ProgressCallback& progress = {});

}  // namespace nibble
