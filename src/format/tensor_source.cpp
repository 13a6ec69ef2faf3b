// SPDX-License-Identifier: Apache-2.0
#include "format/tensor_source.h"

#include <algorithm>
#include <cassert>

namespace nibble {

namespace {

// Unpacked by one thread at a time: rows beside each other share cache lines of layouts that lie the other way round.
constexpr std::uint64_t kGrainRows = 64;

}  // namespace

PackedRows::PackedRows(FormatPtr format, std::uint64_t rows, std::uint64_t cols,
                       std::shared_ptr<const TensorParts> parts)
    : format_(std::move(format)), rows_(rows), cols_(cols), parts_(std::move(parts)) {
  assert(std::ranges::all_of(format_->planes(rows, cols), [](const PlaneSpec& spec) { return spec.row_bytes != 0; }));
}

TensorSource::TensorSource(QuantizedView planes) : view_(std::move(planes)) {}

TensorSource::TensorSource(std::shared_ptr<const PackedRows> packed)
    : view_{packed->format(), packed->rows(), packed->cols(), {}, {}, nullptr, packed->parts()},
      packed_(std::move(packed)) {}

std::vector<std::span<const std::byte>> TensorSource::stored_bytes() const {
  return packed_ ? packed_->bytes_of_rows(first_, first_ + rows()) : view_.planes;
}

// The rows that are unpacked for these: whole runs of those that belong together.
TensorSource::Window TensorSource::prepare_room(std::uint64_t begin, std::uint64_t end, QuantizedTensor& room) const {
  assert(begin < end && end <= rows());
  const std::uint64_t unit = format()->cut_multiple(cols());
  const Window window{begin / unit * unit, std::min(rows(), (end + unit - 1) / unit * unit)};
  const std::uint64_t count = window.end - window.begin;
  if (room.format != format() || room.rows != count || room.cols != cols())
    room = QuantizedTensor(format(), count, cols());
  return window;
}

TensorRows TensorSource::rows_in(const QuantizedTensor& room, std::uint64_t first) const {
  TensorRows rows{room.view(), first};
  rows.planes.parts = nullptr;
  if (parts()) rows.planes.parts = std::make_shared<TensorParts>(parts_of_rows(*parts(), first, room.rows));
  rows.planes.tensor_grid = format()->unpack_tensor(rows.planes.row(0), room.rows, cols());
  return rows;
}

TensorRows TensorSource::read_rows(std::uint64_t begin, std::uint64_t end, QuantizedTensor& room) const {
  if (!packed_) return {view_, 0};
  const Window window = prepare_room(begin, end, room);
  packed_->unpack(first_ + window.begin, first_ + window.end, 0, room);
  return rows_in(room, window.begin);
}

TensorRows TensorSource::read_rows(std::uint64_t begin, std::uint64_t end, QuantizedTensor& room,
                                   ThreadPool& pool) const {
  if (!packed_) return {view_, 0};
  const Window window = prepare_room(begin, end, room);
  const std::uint64_t unit = format()->info().row_unit, grain = (kGrainRows + unit - 1) / unit * unit;
  const std::uint64_t count = window.end - window.begin;
  pool.parallel_for((count + grain - 1) / grain, 1, [&](std::size_t first, std::size_t last, std::size_t) {
    for (std::size_t i = first; i < last; ++i) {
      const std::uint64_t at = i * grain, stop = std::min(count, at + grain);
      packed_->unpack(first_ + window.begin + at, first_ + window.begin + stop, at, room);
    }
  });
  return rows_in(room, window.begin);
}

void TensorSource::decode_row(std::uint64_t index, std::span<float> out) const {
  if (!packed_) return view_.decode_row(index, out);
  QuantizedTensor room;
  read_rows(index, index + 1, room).decode_row(index, out);
}

std::vector<float> TensorSource::decode() const {
  if (!packed_) return view_.decode();
  QuantizedTensor room;
  return read_rows(0, rows(), room).planes.decode();
}

TensorSource TensorSource::slice(std::uint64_t begin, std::uint64_t count) const {
  if (!packed_) return view_of_rows(view_, begin, count);
  require_whole_units(*format(), cols(), rows(), begin, count);
  TensorSource part(packed_);
  part.first_ = first_ + begin;
  part.view_.rows = count;
  if (parts()) part.view_.parts = std::make_shared<TensorParts>(parts_of_rows(*parts(), begin, count));
  return part;
}

}  // namespace nibble
