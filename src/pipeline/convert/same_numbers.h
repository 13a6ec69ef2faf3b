// SPDX-License-Identifier: Apache-2.0
//
// Whether two files of one network hold the same numbers, whatever containers and formats they are in: every value of
// both is decoded and compared.
//
//   const NumbersComparison result = compare_numbers(SourceModel::open("out-gptq"), SourceModel::open("out.gguf"),
//   pool); if (!result.is_same()) for (const TensorDifference& tensor : result.differing) ...
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "model/source_model.h"
#include "nibble/progress.h"
#include "pipeline/convert/tensor_difference.h"

namespace nibble {

struct NumbersComparison {
  std::uint64_t tensors = 0, numbers = 0;
  std::uint64_t recoded = 0;  // matrices in another format than the other's, with the same numbers
  std::vector<TensorDifference> differing;
  std::vector<std::string> configuration;  // what the two configurations say otherwise of one network, a sentence each

  bool is_same() const { return differing.empty(); }
};

// Zeros of either sign are one number. progress: stage "compare", in numbers. Errors: unusable_input, the two are not
// files of one network; what reading either throws.
NumbersComparison compare_numbers(const SourceModel& file, const SourceModel& other, ThreadPool& pool,
                                  const ProgressCallback& progress = {});

}  // namespace nibble
