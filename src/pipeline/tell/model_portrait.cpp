// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/model_portrait.h"

#include <algorithm>
#include <cmath>

#include "model/arch/architecture.h"
#include "pipeline/tell/inspect.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMaxPoints = 256;  // of a group; more would be a blur

const StoredTensor* find_matrix(const SourceModel& checkpoint, const ModelTensor& tensor) {
  const StoredTensor* stored = checkpoint.find(tensor.name(checkpoint.spelling()));
  return stored && stored->values.format() && stored->shape.size() == 2 ? stored : nullptr;
}

// Calls visit(values) for every `stride`-th row.
template <class Visit>
void each_sampled_row(const Checkpoint& checkpoint, const StoredTensor& tensor, std::uint64_t stride, Visit visit) {
  std::vector<float> values(tensor.values.cols());
  for (std::uint64_t row = 0; row < tensor.values.rows(); row += stride) {
    tensor.values.decode_row(row, values);
    visit(values);
  }
  checkpoint.release(tensor);
}

std::vector<std::uint64_t> count_values(const Checkpoint& checkpoint, const StoredTensor& tensor, std::uint64_t stride,
                                        double low, double high, std::size_t bins) {
  std::vector<std::uint64_t> counts(bins);
  const double per_unit = high > low ? static_cast<double>(bins) / (high - low) : 0;
  each_sampled_row(checkpoint, tensor, stride, [&](const std::vector<float>& values) {
    for (const float value : values) {
      if (!std::isfinite(value)) continue;
      const double bin = std::floor((static_cast<double>(value) - low) * per_unit);
      ++counts[static_cast<std::size_t>(std::clamp(bin, 0.0, static_cast<double>(bins - 1)))];
    }
  });
  return counts;
}

// What the first group of the middle row can hold. Formats that code several columns together have too many such
// values; theirs are those that the group does hold.
std::vector<float> storable_values(const TensorSource& source) {
  const Format& format = *source.format();
  const std::size_t cols = source.cols();
  if (format.info().kind == FormatKind::raw || cols == 0) return {};
  QuantizedTensor room;
  const TensorRows rows = source.read_rows(source.rows() / 2, source.rows() / 2 + 1, room);
  const std::uint64_t row = source.rows() / 2 - rows.first;
  const std::size_t span = format.info().span == 0 ? cols : std::min<std::size_t>(format.info().span, cols);
  std::vector<float> points;
  if (format.info().unit == 1 && format.num_codes() <= kMaxPoints) {
    std::vector<std::byte> grid(format.grid_bytes());
    std::vector<Code> codes(span);
    format.unpack(rows.planes.row(row), 0, span, rows.planes.tensor_grid.get(), row, grid.data(), codes.data());
    for (Code code = 0; code < format.num_codes(); ++code) format.value(grid.data(), 0, code, &points.emplace_back());
  } else {
    std::vector<float> values(cols);
    rows.planes.decode_row(row, values);
    points.assign(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(span));
  }
  std::erase_if(points, [](float value) { return !std::isfinite(value); });
  std::ranges::sort(points);
  points.erase(std::unique(points.begin(), points.end()), points.end());
  return points;
}

WeightHistogram histogram_of(const SourceModel& original, const StoredTensor& before, const SourceModel& candidate,
                             const StoredTensor& after, const PortraitOptions& options) {
  WeightHistogram result;
  const std::uint64_t stride = std::max<std::uint64_t>(
      1, before.values.rows() * before.values.cols() / std::max<std::uint64_t>(1, options.max_values));
  bool first = true;
  each_sampled_row(original, before, stride, [&](const std::vector<float>& values) {
    for (const float value : values) {
      if (!std::isfinite(value)) continue;
      result.low = first ? value : std::min<double>(result.low, value);
      result.high = first ? value : std::max<double>(result.high, value);
      first = false;
    }
  });
  result.before = count_values(original, before, stride, result.low, result.high, options.bins);
  result.after = count_values(candidate, after, stride, result.low, result.high, options.bins);
  result.points = storable_values(after.values);
  return result;
}

}  // namespace

ModelPortrait portray(const SourceModel& original, const SourceModel& candidate, const PortraitOptions& options,
                      ThreadPool& pool) {
  ModelPortrait portrait;
  portrait.bytes = candidate.file_bytes();
  portrait.bits_per_weight = describe_weights(candidate).bits_per_weight;
  const ModelTensors& tensors = candidate.parts();
  std::int64_t last = -1;
  for (const ModelTensor& tensor : tensors.all()) {
    last = std::max(last, tensor.layer);
    const StoredTensor* stored = find_matrix(candidate, tensor);
    if (!stored) continue;
    const double bits =
        8.0 * static_cast<double>(stored->bytes) / static_cast<double>(stored->values.rows() * stored->values.cols());
    portrait.tensors.push_back({tensor.hf_name, tensor.part, tensor.layer, stored->values.format()->name(), bits});
  }
  struct Pair {
    const ModelTensor* tensor;
    const StoredTensor *before, *after;
  };
  std::vector<Pair> pairs;
  std::vector<std::int64_t> layers = {0, last / 2, last};
  layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
  for (const std::int64_t layer : layers)
    for (const std::string& part : options.parts) {
      const ModelTensor* tensor = tensors.part(part, layer);
      if (!tensor) continue;
      const StoredTensor *before = find_matrix(original, *tensor), *after = find_matrix(candidate, *tensor);
      if (before && after && before->shape == after->shape) pairs.push_back({tensor, before, after});
    }
  portrait.histograms.resize(pairs.size());
  pool.parallel_for(pairs.size(), 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) {
      portrait.histograms[i] = histogram_of(original, *pairs[i].before, candidate, *pairs[i].after, options);
      portrait.histograms[i].tensor = pairs[i].tensor->hf_name;
    }
  });
  return portrait;
}

}  // namespace nibble
