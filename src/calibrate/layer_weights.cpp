// SPDX-License-Identifier: Apache-2.0
#include "calibrate/layer_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/huge_pages.h"
#include "nibble/error.h"

namespace nibble {

QuantizedView view_of(const Matrix& matrix) {
  return make_view(find_raw_format(DType::f32), matrix.rows, matrix.cols, {std::as_bytes(std::span(matrix.values))},
                   "matrix");
}

Matrix decode_matrix(const StoredTensor& tensor, ThreadPool& pool) {
  const TensorSource& source = tensor.values;
  Matrix matrix{source.rows(), source.cols(), large_vector(source.rows() * source.cols())};
  std::atomic<std::uint64_t> bad_row = matrix.rows;
  pool.parallel_for(matrix.rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    QuantizedTensor room;
    const TensorRows rows = source.read_rows(begin, end, room);
    for (std::size_t row = begin; row < end; ++row) {
      const std::span<float> out(matrix.values.data() + row * matrix.cols, matrix.cols);
      rows.decode_row(row, out);
      if (!first_not_finite(out)) continue;
      for (std::uint64_t known = bad_row; row < known && !bad_row.compare_exchange_weak(known, row);) {
      }
    }
  });
  if (bad_row != matrix.rows)
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: tensor '{}' holds a value that is not finite; repair or retrain the model: row {}",
                            tensor.file, tensor.name, bad_row.load()));
  return matrix;
}

Matrix decode_matrix(const SourceModel& checkpoint, const ModelTensor& tensor, ThreadPool& pool) {
  Matrix matrix = decode_matrix(checkpoint.stored(tensor), pool);
  if (const StoredNumbers numbers = tensor.numbers(checkpoint.spelling()); numbers != StoredNumbers{})
    for (float& value : matrix.values) value = numbers.read(value);
  return matrix;
}

namespace {

// Not the rows that are looked up, nor what the model has of its own for its end.
bool is_decoded(const ModelTensor& tensor, const DrawnGraph& drawing) {
  if (tensor.layer != Network::kBegin) return true;
  return tensor.role != TensorRole::embedding &&
         std::ranges::any_of(drawing.graph.weights(), [&](const WeightUse& use) { return use.part == tensor.part; });
}

}  // namespace

EmbeddingRows stored_rows(const SourceModel& checkpoint) {
  return [&checkpoint](std::string_view part, std::int32_t id, float* row) {
    const TensorSource& values = checkpoint.stored(*checkpoint.parts().part(part, Network::kBegin)).values;
    values.decode_row(static_cast<std::uint64_t>(id), {row, values.cols()});
  };
}

LayerWeights::LayerWeights(const SourceModel& checkpoint, const ModelTensors& tensors, std::int64_t layer,
                           ThreadPool& pool) {
  const Network& network = tensors.network();
  drawing_ = layer == Network::kBegin ? &network.begin() : &network.layer(layer);
  layer_ = layer;
  for (const ModelTensor& tensor : tensors.all()) {
    if (tensor.layer != layer || !is_decoded(tensor, *drawing_)) continue;
    const StoredTensor& stored = checkpoint.stored(tensor);
    parts_.emplace(tensor.part, decode_matrix(checkpoint, tensor, pool));
    checkpoint.release(stored);
  }
}

LayerWeights LayerWeights::copy(ThreadPool& pool) const {
  LayerWeights result;
  result.drawing_ = drawing_;
  result.layer_ = layer_;
  for (const auto& [part, matrix] : parts_) {
    Matrix& copied =
        result.parts_.emplace(part, Matrix{matrix.rows, matrix.cols, large_vector(matrix.values.size())}).first->second;
    pool.parallel_for(matrix.values.size(), std::size_t{1} << 16,
                      [&, &from = matrix.values](std::size_t begin, std::size_t end, std::size_t) {
                        std::copy_n(&from[begin], end - begin, &copied.values[begin]);
                      });
  }
  return result;
}

}  // namespace nibble
