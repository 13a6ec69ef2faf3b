// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/source_loss.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "base/progress_meter.h"
#include "calibrate/layer_weights.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::vector<const ModelTensor*> matrices_in_codes(const SourceModel& model) {
  std::vector<const ModelTensor*> matrices;
  for (const ModelTensor& tensor : model.parts().all())
    if (tensor.shape.size() == 2 && model.stored(tensor).values.format()->info().kind != FormatKind::raw)
      matrices.push_back(&tensor);
  return matrices;
}

const ModelTensor& counterpart(const ModelTensor& tensor, const SourceModel& source, const SourceModel& original) {
  const ModelTensor* const other = original.parts().part(tensor.part, tensor.layer);
  if (other != nullptr && other->shape == tensor.shape) return *other;
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
    const Matrix stored = decode_matrix(source, *tensor, pool),
                 meant = decode_matrix(original, counterpart(*tensor, source, original), pool);
    double differences = 0, squares = 0;
    // Where the two containers have rows, or columns, in another order.
    const auto rows = tensor->rows_from(original.spelling(), source.spelling()),
               columns = tensor->columns_from(original.spelling(), source.spelling());
    for (std::size_t r = 0; r < stored.rows; ++r) {
      const float* const from = stored.values.data() + r * stored.cols;
      const float* const row = meant.values.data() + (rows.empty() ? r : rows[r]) * stored.cols;
      for (std::size_t c = 0; c < stored.cols; ++c) {
        const double value = static_cast<double>(row[columns.empty() ? c : columns[c]]),
                     difference = static_cast<double>(from[c]) - value;
        differences += difference * difference;
        squares += value * value;
      }
    }
    const double relative = squares > 0 ? std::sqrt(differences / squares) : 0;
    if (loss.worst.empty() || relative > loss.worst_relative_rms) {
      loss.worst = tensor->name(source.spelling());
      loss.worst_relative_rms = relative;
    }
    all_differences += differences;
    all_squares += squares;
    meter.report(++done);
  }
  loss.relative_rms = all_squares > 0 ? std::sqrt(all_differences / all_squares) : 0;
  return loss;
}

}  // namespace nibble
