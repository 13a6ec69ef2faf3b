// SPDX-License-Identifier: Apache-2.0
//
// Tensors of random bytes for the writers' tests: what a container carries it must not interpret.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "io/checkpoint.h"
#include "io/checkpoint_writer.h"

namespace nibble {

inline std::vector<QuantizedTensor> random_tensors(const std::vector<PlannedTensor>& plan, std::uint64_t seed) {
  Random random(seed);
  std::vector<QuantizedTensor> tensors;
  for (const PlannedTensor& planned : plan) {
    const MatrixSize size = matrix_size(planned.shape);
    QuantizedTensor& tensor = tensors.emplace_back(planned.format, size.rows, size.cols);
    for (auto& plane : tensor.planes)
      for (auto& byte : plane) byte = static_cast<std::byte>(random.below(256));
  }
  return tensors;
}

// The rows [begin, begin + count) of a tensor.
inline QuantizedView rows_of(const QuantizedTensor& tensor, std::uint64_t begin, std::uint64_t count) {
  QuantizedView view = tensor.view();
  view.rows = count;
  view.specs = tensor.format->planes(count, tensor.cols);
  for (std::size_t i = 0; i < view.planes.size(); ++i)
    if (const auto bytes = tensor.specs[i].row_bytes; bytes != 0)
      view.planes[i] =
          view.planes[i].subspan(begin / tensor.specs[i].row_unit * bytes,
                                 (count + tensor.specs[i].row_unit - 1) / tensor.specs[i].row_unit * bytes);
  return view;
}

inline void write_in_bands(CheckpointWriter& writer, std::size_t index, const QuantizedTensor& tensor,
                           std::uint64_t band) {
  for (std::uint64_t row = 0; row < tensor.rows; row += band)
    writer.write_rows(index, rows_of(tensor, row, std::min(band, tensor.rows - row)));
}

inline void write_all(CheckpointWriter& writer, const std::vector<QuantizedTensor>& tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) write_in_bands(writer, i, tensors[i], 7);
  writer.finish();
}

// Writes every tensor of a checkpoint as it is. make_writer: plan -> writer.
template <class MakeWriter>
void copy_tensors(const Checkpoint& checkpoint, MakeWriter make_writer) {
  std::vector<PlannedTensor> plan;
  for (const StoredTensor& tensor : checkpoint.tensors())
    plan.push_back({tensor.name, tensor.shape, tensor.values.format()});
  const auto writer = make_writer(plan);
  for (std::size_t i = 0; i < plan.size(); ++i) writer->write_rows(i, *checkpoint.tensors()[i].values.planes());
  writer->finish();
}

inline void expect_same_planes(const StoredTensor& stored, const QuantizedTensor& tensor) {
  ASSERT_TRUE(stored.values.format()) << stored.name;
  EXPECT_EQ(stored.values.format()->name(), tensor.format->name());
  ASSERT_EQ(stored.values.planes()->planes.size(), tensor.planes.size());
  for (std::size_t i = 0; i < tensor.planes.size(); ++i)
    EXPECT_TRUE(std::ranges::equal(stored.values.planes()->planes[i], tensor.planes[i])) << stored.name << i;
}

}  // namespace nibble
