// SPDX-License-Identifier: Apache-2.0
//
// Where the numbers of a stored tensor come from: a format, rows and columns, and rows that can be read in the planes
// of that format. Planes that lie in memory or in a mapped file are the cheap case: reading rows of them copies
// nothing. Layouts of other programs (words along the inputs, interleaved outputs) are unpacked as they are read.
// Borrows the bytes, whose owner must outlive it. Immutable, safe from many threads.
//
//   QuantizedTensor room;                                    // where rows are unpacked to, if they have to be
//   const TensorRows rows = source.read_rows(0, 64, room);
//   for (std::uint64_t row = 0; row < 64; ++row) rows.decode_row(row, out);
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "format/quantized_tensor.h"

namespace nibble {

// Rows of a tensor, by their numbers in it.
struct TensorRows {
  QuantizedView planes;     // rows first .. first + planes.rows - 1: those that were asked for, and perhaps others
  std::uint64_t first = 0;  // the tensor's row that is row 0 of the planes

  ConstRowPlanes row(std::uint64_t index) const { return planes.row(index - first); }
  void decode_row(std::uint64_t index, std::span<float> out) const { planes.decode_row(index - first, out); }
  void decode_row(const Format& twin, std::uint64_t index, std::span<float> out) const {
    planes.decode_row(twin, index - first, out);
  }
};

// A matrix in a layout whose bytes are no planes of the format that its numbers are in. Every plane of the format
// belongs to rows: what the whole tensor shares has no place here. Immutable, safe from many threads.
class PackedRows {
 public:
  virtual ~PackedRows() = default;

  const FormatPtr& format() const noexcept { return format_; }
  std::uint64_t rows() const noexcept { return rows_; }
  std::uint64_t cols() const noexcept { return cols_; }
  const std::shared_ptr<const TensorParts>& parts() const noexcept { return parts_; }  // null for most

  // Writes rows begin .. end - 1 into rows at, at + 1, ... of `out`: all their bits but those that pad a row. begin and
  // `at` are multiples of the format's row_unit.
  virtual void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const = 0;
  // Everything that rows are made of, as it lies in the file.
  virtual std::vector<std::span<const std::byte>> stored_bytes() const = 0;
  // What rows begin .. end - 1 are made of, and perhaps more.
  virtual std::vector<std::span<const std::byte>> bytes_of_rows(std::uint64_t, std::uint64_t) const {
    return stored_bytes();
  }

 protected:
  PackedRows(FormatPtr format, std::uint64_t rows, std::uint64_t cols, std::shared_ptr<const TensorParts> parts);

 private:
  FormatPtr format_;
  std::uint64_t rows_, cols_;
  std::shared_ptr<const TensorParts> parts_;
};

class TensorSource {
 public:
  TensorSource() = default;            // of something that has no format here: format() is null
  TensorSource(QuantizedView planes);  // NOLINT(google-explicit-constructor): the cheap case
  explicit TensorSource(std::shared_ptr<const PackedRows> packed);

  const FormatPtr& format() const noexcept { return view_.format; }
  std::uint64_t rows() const noexcept { return view_.rows; }
  std::uint64_t cols() const noexcept { return view_.cols; }
  const std::shared_ptr<const TensorParts>& parts() const noexcept { return view_.parts; }             // null for most
  const std::shared_ptr<const TensorGrid>& tensor_grid() const noexcept { return view_.tensor_grid; }  // null for most
  // The planes as they lie; null where rows are unpacked.
  const QuantizedView* planes() const noexcept { return packed_ || !view_.format ? nullptr : &view_; }
  // All bytes that it is made of, as they lie in the file: to be hashed, asked for ahead, let go.
  std::vector<std::span<const std::byte>> stored_bytes() const;

  // Rows begin .. end - 1, begin < end <= rows(). What has to be unpacked goes to `room` (used again where it has the
  // right size), which then must outlive the result as it is.
  TensorRows read_rows(std::uint64_t begin, std::uint64_t end, QuantizedTensor& room) const;
  // The same, unpacked by the threads of a pool.
  TensorRows read_rows(std::uint64_t begin, std::uint64_t end, QuantizedTensor& room, ThreadPool& pool) const;

  // One row, all parts applied. Whoever wants many that have to be unpacked reads them together. Errors as
  // QuantizedView's.
  void decode_row(std::uint64_t index, std::span<float> out) const;
  std::vector<float> decode() const;  // [rows * cols], all parts applied; for tests and small tensors

  // A source of rows begin .. begin + count - 1 alone. Error(unsupported) where the cut goes through rows that belong
  // together.
  TensorSource slice(std::uint64_t begin, std::uint64_t count) const;

 private:
  struct Window {
    std::uint64_t begin, end;
  };
  Window prepare_room(std::uint64_t begin, std::uint64_t end, QuantizedTensor& room) const;
  TensorRows rows_in(const QuantizedTensor& room, std::uint64_t first) const;

  QuantizedView view_;  // without planes where rows are unpacked
  std::shared_ptr<const PackedRows> packed_;
  std::uint64_t first_ = 0;  // the packed row that is row 0 here
};

}  // namespace nibble
