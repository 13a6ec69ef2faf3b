// SPDX-License-Identifier: Apache-2.0
//
// What pictures show of a quantized model beside its original: which tensor is stored how, and how the values of some
// matrices moved.
//
//   ModelPortrait portrait = portray(original, candidate, {}, pool);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "model/source_model.h"

namespace nibble {

struct TensorPortrait {
  std::string name;         // in the Hugging Face spelling
  std::string part;         // "q", "embedding": as architectures name it
  std::int64_t layer = -1;  // -1: of the whole model
  std::string format;
  double bits_per_weight = 0;
};

// Counts of values in equal bins over [low, high]; values beyond fall into the outermost bins.
struct WeightHistogram {
  std::string tensor;
  double low = 0, high = 0;  // the original's extremes
  std::vector<std::uint64_t> before, after;
  std::vector<float>
      points;  // every value that one group (the first of the middle row) can take, ascending; empty for raw formats
};

struct ModelPortrait {
  std::uint64_t bytes = 0;
  double bits_per_weight = 0;
  std::vector<TensorPortrait> tensors;  // matrices in the order of the model
  std::vector<WeightHistogram> histograms;
};

struct PortraitOptions {
  std::size_t bins = 121;
  std::vector<std::string> parts = {"v", "down"};     // of the first, the middle and the last layer
  std::uint64_t max_values = std::uint64_t{4} << 20;  // of a matrix; larger ones are sampled by rows
};

// Parts that either model lacks are left out. The same figures for any number of threads. Errors: unsupported for
// models of unknown families.
ModelPortrait portray(const SourceModel& original, const SourceModel& candidate, const PortraitOptions& options,
                      ThreadPool& pool);

}  // namespace nibble
