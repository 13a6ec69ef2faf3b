// SPDX-License-Identifier: Apache-2.0
//
// What is in a checkpoint: the model as a whole, its tensors, and statistics of their values (extremes,
// outliers) that tell how they will take quantization.
//
//   for (const TensorListing& t : list_tensors(checkpoint)) print(t.name, t.format);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "model/source_model.h"
#include "nibble/model.h"
#include "nibble/progress.h"

namespace nibble {

// What the tensors alone tell: their container, number, bytes, parameters and bits; the rest stays empty.
ModelInfo describe_weights(const Checkpoint& checkpoint);
// The same with the configuration and the tokenizer, which are read for it. Works for models that cannot be run, too:
// what is not known stays empty.
ModelInfo describe_model(const SourceModel& checkpoint);

struct TensorListing {
  std::string name;
  Shape shape;
  std::string format;  // a format's name, or the element type of tensors that are no weights
  std::uint64_t elements = 0, bytes = 0;
  std::string file;
  std::uint64_t offset = 0;
  std::vector<std::string> parts{};  // what lies beside codes and grids: "input transform hadamard256"
};

std::vector<TensorListing> list_tensors(const Checkpoint& checkpoint);

struct TensorStatistics {
  std::uint64_t count = 0;       // of finite values
  std::uint64_t not_finite = 0;  // NaN and infinite values, left out of everything else
  double mean = 0, deviation = 0;
  double minimum = 0, maximum = 0, absmax = 0;
  double kurtosis = 0;        // fourth standardised moment: 3 for a normal distribution, larger with heavier tails
  double beyond_6_sigma = 0;  // share of values further than 6 deviations from the mean
  double asymmetry = 0;  // (maximum + minimum) / (maximum - minimum) of the range with 0: 0 is symmetric, +-1 one-sided
};

// Decodes every row, a bounded number at a time; the same bits for any number of threads.
TensorStatistics measure_statistics(const Checkpoint& checkpoint, const StoredTensor& tensor, ThreadPool& pool);

struct Defect {
  std::string tensor, file, what;  // tensor: empty where it is the file's
  std::uint64_t row = 0;
};

// Why the model cannot be run, by its configuration and the names and shapes of its tensors; empty: it can.
std::string obstacle_of(const SourceModel& model);

// Looks through every row of every tensor for what no writer should have stored, and for bytes behind the last tensor
// and its padding (of safetensors nothing with such bytes is opened), and for weight files that are not those which the
// directory's manifest was written with. At most max_defects are described; `total` counts all rows and files that have
// one, `overlong` and `changed` such files.
struct CheckResult {
  std::vector<Defect> defects;
  std::uint64_t total = 0, overlong = 0, changed = 0, rows = 0, tensors = 0, bytes = 0;
};
CheckResult check_checkpoint(const Checkpoint& checkpoint, std::size_t max_defects, ThreadPool& pool,
                             const ProgressCallback& progress);

}  // namespace nibble
