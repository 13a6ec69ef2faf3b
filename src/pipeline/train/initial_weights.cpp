// SPDX-License-Identifier: Apache-2.0
#include "pipeline/train/initial_weights.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "base/huge_pages.h"
#include "base/random.h"
#include "io/checkpoint_writer.h"

namespace nibble {
namespace {

constexpr double kEmbeddingDeviation = 0.02;

// The parts of layers whose outputs are added to what is there.
std::set<std::pair<std::int64_t, std::string>> adding_parts(const Network& network) {
  std::set<std::pair<std::int64_t, std::string>> parts;
  for (std::int64_t layer = 0; layer < network.num_layers(); ++layer)
    for (const Site& site : network.layer(layer).sites)
      if (site.added)
        for (const std::string& part : site.parts) parts.emplace(layer, part);
  return parts;
}

// Of vectors, and of what is no matrix; 0: of matrices, whose numbers are drawn.
float constant_of(const ModelTensor& tensor) {
  if (tensor.role == TensorRole::norm) return 1;
  return tensor.role == TensorRole::coefficients && !tensor.hf_numbers.is_log_of_minus ? 1.0F : 0.0F;
}

void fill(const ModelTensor& tensor, double deviation, std::uint64_t seed, Matrix& matrix, ThreadPool& pool) {
  pool.parallel_for(matrix.rows, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row) {
      Random random(seed + row);  // every row's own, so that threads do not matter
      for (std::uint64_t i = 0; i < matrix.cols; ++i)
        matrix.values[row * matrix.cols + i] = static_cast<float>(
            tensor.hf_numbers.is_log_of_minus ? -1 - 15 * random.uniform() : deviation * random.normal());
    }
  });
}

}  // namespace

std::vector<NetworkWeight> initial_weights(const ModelTensors& tensors, std::uint64_t seed, ThreadPool& pool) {
  const auto adding = adding_parts(tensors.network());
  const double depth = std::sqrt(2 * static_cast<double>(tensors.network().num_layers()));
  std::vector<NetworkWeight> weights;
  for (std::size_t i = 0; i < tensors.all().size(); ++i) {
    const ModelTensor& tensor = tensors.all()[i];
    const bool is_matrix = tensor.shape.size() > 1;
    Matrix matrix{is_matrix ? tensor.shape[0] : 1, tensor.shape.back(), {}};
    matrix.values = large_vector(checked_elements(tensor.shape, tensor.hf_name));
    const double deviation = tensor.role == TensorRole::embedding || tensor.role == TensorRole::head
                                 ? kEmbeddingDeviation
                                 : 1 / std::sqrt(static_cast<double>(matrix.cols));
    if (is_matrix || tensor.hf_numbers.is_log_of_minus)
      fill(tensor, adding.contains({tensor.layer, tensor.part}) ? deviation / depth : deviation,
           (seed * 0x9e3779b97f4a7c15u) ^ (static_cast<std::uint64_t>(i) << 32), matrix, pool);
    else
      std::ranges::fill(matrix.values, constant_of(tensor));
    weights.push_back({tensor.hf_name, tensor.part, tensor.layer, tensor.role, std::move(matrix)});
  }
  return weights;
}

}  // namespace nibble
