// SPDX-License-Identifier: Apache-2.0
//
// A layer's tensors in f32, by part. Values; one thread at a time changes them.
//
//   LayerWeights layer(checkpoint, tensors, 3, pool);
//   scale(layer.at("q"));
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "graph/network.h"
#include "model/arch/architecture.h"
#include "model/source_model.h"

namespace nibble {

// A weight matrix [rows, cols] or a vector (rows = 1) in f32, in the source's row order.
struct Matrix {
  std::uint64_t rows = 0, cols = 0;
  std::vector<float> values;
};

// The same as a tensor in f32. Borrowed: the matrix outlives the view.
QuantizedView view_of(const Matrix& matrix);

// One layer's tensors by part: "q", "q.bias", "attention_norm".
class LayerWeights {
 public:
  LayerWeights() = default;
  // Decodes the layer's tensors, or Network::kBegin's but for those whose rows are looked up; the network outlives
  // this. Error(corrupt) names a tensor with a value that is not finite.
  LayerWeights(const SourceModel& checkpoint, const ModelTensors& tensors, std::int64_t layer, ThreadPool& pool);

  bool has(std::string_view part) const { return parts_.find(part) != parts_.end(); }
  const Matrix& at(std::string_view part) const { return parts_.find(part)->second; }
  Matrix& at(std::string_view part) { return parts_.find(part)->second; }
  std::map<std::string, Matrix, std::less<>>& all() { return parts_; }
  LayerWeights copy(ThreadPool& pool) const;
  const DrawnGraph& drawing() const { return *drawing_; }
  std::int64_t layer() const { return layer_; }

 private:
  const DrawnGraph* drawing_ = nullptr;
  std::int64_t layer_ = Network::kBegin;
  std::map<std::string, Matrix, std::less<>> parts_;
};

// A row of a matrix whose rows are looked up by tokens.
using EmbeddingRows = std::function<void(std::string_view part, std::int32_t id, float* row)>;
// As they are stored; the checkpoint outlives them.
EmbeddingRows stored_rows(const SourceModel& checkpoint);

// Error(corrupt) names a tensor with a value that is not finite. The second: as the network reads it, whatever the file
// holds (StoredNumbers).
Matrix decode_matrix(const StoredTensor& tensor, ThreadPool& pool);
Matrix decode_matrix(const SourceModel& checkpoint, const ModelTensor& tensor, ThreadPool& pool);

}  // namespace nibble
