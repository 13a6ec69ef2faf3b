// SPDX-License-Identifier: Apache-2.0
//
// What a quantized tensor may have beside codes and grids, left behind by some methods. Most tensors have none of it.
// Who takes quantized tensors asks which parts one has, and refuses those that it cannot hold or apply, by name:
//
//   require_only(parts_of(view), {TensorPart::input_order}, "a GGUF file", "tensor 'blk.0.attn_q.weight'");
//
// The matrix W [rows, cols] of a tensor with parts, from the values v that its format decodes:
//
//   1. v[r, c] becomes the outlier's value where the tensor has one at (r, c); columns count as codes lie
//   2. v *= tensor_scale
//   3. u[r, input_order[c]] = v[r, c]
//   4. u = u T of the input transform: the tensor is made for inputs T x in place of x
//   5. W = T^t u of the output transform: the tensor makes outputs T y in place of y
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

// Weights that are kept exactly, in compressed rows.
struct SparseOutliers {
  std::vector<std::uint64_t> row_ends;  // [rows]: row r has the entries from row_ends[r - 1] (0) up to row_ends[r]
  std::vector<std::uint32_t> columns;   // ascending within a row
  std::vector<float> values;

  bool empty() const { return columns.empty(); }
  bool operator==(const SparseOutliers&) const = default;
};

// An orthogonal matrix T = H D: D the signs, H Hadamard matrices of `size` channels each, divided by sqrt(size), in
// Sylvester's order.
struct ChannelTransform {
  std::uint32_t size = 0;          // a power of two that divides the number of channels; 0: no transform
  std::vector<std::int8_t> signs;  // [channels], 1 or -1; empty: all 1

  bool empty() const { return size == 0; }
  std::string name() const;  // "hadamard128"
  bool operator==(const ChannelTransform&) const = default;
};

struct TensorParts {
  std::vector<std::uint32_t> input_order;  // [cols]: column c of the codes is input input_order[c]; empty: as they lie
  SparseOutliers outliers;
  ChannelTransform input_transform;   // of `cols` channels
  ChannelTransform output_transform;  // of `rows` channels
  std::optional<float> tensor_scale;

  bool operator==(const TensorParts&) const = default;
};

// row_tile: rows that share a grid or are coded together, so that they are neither cut apart nor put into another
// order.
enum class TensorPart : std::uint8_t {
  input_order,
  sparse_outliers,
  input_transform,
  output_transform,
  tensor_scale,
  row_tile
};
std::string_view part_name(TensorPart part);                // "input order"
std::string part_names(std::span<const TensorPart> parts);  // "input order, tensor scale"

// Those that are there, in the order of the list above; row_tile is the format's and not among them.
std::vector<TensorPart> parts_of(const TensorParts& parts);

// Error(unsupported) names every part that is not among `taken`, `who` cannot have it, and whose it is.
void require_only(std::span<const TensorPart> parts, std::initializer_list<TensorPart> taken, std::string_view who,
                  std::string_view whose);

// What no writer should have stored: orders that are no permutation, outliers out of place, transforms that do not fit.
std::optional<std::string> find_parts_defect(const TensorParts& parts, std::uint64_t rows, std::uint64_t cols);

// "hadamard128" -> 128; nothing for other names.
std::optional<std::uint32_t> parse_transform(std::string_view name);

// Steps 1 to 4 for one row, in place: values [cols] as the format decodes them.
void apply_to_row(const TensorParts& parts, std::uint64_t row, std::span<float> values);
// Step 5 for a whole matrix [rows * cols], in place.
void apply_output_transform(const ChannelTransform& transform, std::uint64_t rows, std::uint64_t cols,
                            std::span<float> matrix);

// The parts of rows begin .. begin + count - 1. Error(unsupported) where an output transform mixes rows.
TensorParts parts_of_rows(const TensorParts& parts, std::uint64_t begin, std::uint64_t count);

}  // namespace nibble
