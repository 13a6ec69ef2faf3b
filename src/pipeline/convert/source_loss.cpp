// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert/source_loss.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "base/progress_meter.h"
#include "nibble/error.h"
#include "pipeline/convert/tensor_difference.h"

namespace nibble {
namespace {

std::vector<const ModelTensor*> matrices_in_codes(const SourceModel& model) {
  std::vector<const ModelTensor*> matrices;
  for (const ModelTensor& tensor : model.parts().all())
    if (tensor.shape.size() == 2 && model.stored(tensor).values.format()->info().kind != FormatKind::raw)
      matrices.push_back(&tensor);
  return matrices;
}

const ModelTensor& required_counterpart(const ModelTensor& tensor, const SourceModel& source,
                                        const SourceModel& original) {
  if (const ModelTensor* const other = counterpart(tensor, original)) return *other;
  throw Error(ErrorKind::unusable_input,
              fmt::format("{} is not what {} was made from: it has no matrix as '{}' {}", original.path().string(),
                          source.path().string(), tensor.name(source.spelling()), shape_text(tensor.shape)));
}

}  // namespace

SourceLoss measure_source_loss(const SourceModel& source, const SourceModel& original, ThreadPool& pool,
                               const ProgressCallback& progress) {
  const std::vector<const ModelTensor*> matrices = matrices_in_codes(source);
  if (matrices.empty())
    throw Error(ErrorKind::invalid_argument,
                fmt::format("no matrix of {} is quantized: it has lost nothing", source.path().string()), "original");
  SourceLoss loss;
  loss.matrices = matrices.size();
  double all_differences = 0, all_squares = 0;
  ProgressMeter meter(progress, "source", matrices.size());
  std::uint64_t done = 0;
  for (const ModelTensor* const tensor : matrices) {
    const TensorDifference difference =
        measure_difference(*tensor, source, required_counterpart(*tensor, source, original), original, pool);
    if (const double relative = difference.relative_rms(); loss.worst.empty() || relative > loss.worst_relative_rms) {
      loss.worst = difference.name;
      loss.worst_relative_rms = relative;
    }
    all_differences += difference.differences;
    all_squares += difference.squares;
    meter.report(++done);
  }
  loss.relative_rms = all_squares > 0 ? std::sqrt(all_differences / all_squares) : 0;
  return loss;
}

}  // namespace nibble
