// SPDX-License-Identifier: Apache-2.0
//
// A tensor in some format: the one value that methods produce, files hold and kernels take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "format/format.h"
#include "format/tensor_parts.h"

namespace nibble {

// Borrowed planes of a [rows, cols] matrix. Vectors (norm weights, biases) are [1, n]. The owner of the bytes must
// outlive the view.
struct QuantizedView {
  FormatPtr format;
  std::uint64_t rows = 0, cols = 0;
  std::vector<PlaneSpec> specs;
  std::vector<std::span<const std::byte>> planes;  // same order as specs
  std::shared_ptr<const TensorGrid> tensor_grid;   // null for formats without one
  std::shared_ptr<const TensorParts> parts{};      // null for most: nothing beside codes and grids

  std::uint64_t bytes() const;                    // of all planes
  ConstRowPlanes row(std::uint64_t index) const;  // where this row begins in each plane
  // With the parts applied. Error(unsupported) where an output transform mixes rows.
  void decode_row(std::uint64_t index, std::span<float> out) const;
  // The same by a twin of the format, with the loops of an instruction set.
  void decode_row(const Format& twin, std::uint64_t index, std::span<float> out) const;
  std::vector<float> decode() const;  // [rows * cols], all parts applied; for tests and small tensors
};

// The same, owning its bytes (zeroed by the constructor).
struct QuantizedTensor {
  QuantizedTensor() = default;
  QuantizedTensor(FormatPtr format, std::uint64_t rows, std::uint64_t cols);

  FormatPtr format;
  std::uint64_t rows = 0, cols = 0;
  std::vector<PlaneSpec> specs;
  std::vector<std::vector<std::byte>> planes;
  std::shared_ptr<const TensorGrid> tensor_grid;

  std::shared_ptr<const TensorParts> parts;  // null for most

  QuantizedView view() const;
  RowPlanes row(std::uint64_t index);
  // Row `index` becomes a row of a tensor in the same format. What belongs to the whole tensor stays as
  // it is; what rows share is taken with the first of them, so that both indices have one place within the row unit.
  void copy_row(std::uint64_t index, const QuantizedView& from, std::uint64_t from_row);
};

// Zeroed room for `count` rows of a [rows, cols] tensor. Planes of the whole tensor are as long as its rows make them,
// and rows are encoded and decoded by their number in it.
QuantizedTensor room_for_rows(FormatPtr format, std::uint64_t count, std::uint64_t rows, std::uint64_t cols);

// What there is beside codes and grids, row tiles included.
std::vector<TensorPart> parts_of(const QuantizedView& view);

// Error(unsupported) where rows begin .. begin + count - 1 of a [rows, cols] matrix are cut from others that they
// belong together with.
void require_whole_units(const Format& format, std::uint64_t cols, std::uint64_t rows, std::uint64_t begin,
                         std::uint64_t count);

// Some rows of a matrix, which are one below the other in every plane. Borrowed as the view is. Error(unsupported)
// where the cut goes through rows that belong together.
QuantizedView view_of_rows(const QuantizedView& view, std::uint64_t begin, std::uint64_t count);

// Builds the view of planes that lie in a file. Sizes are judged: Error(corrupt) names `what` when a plane's size does
// not match.
QuantizedView make_view(FormatPtr format, std::uint64_t rows, std::uint64_t cols,
                        std::vector<std::span<const std::byte>> planes, const std::string& what);

}  // namespace nibble
