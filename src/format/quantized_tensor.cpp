// SPDX-License-Identifier: Apache-2.0
#include "format/quantized_tensor.h"

#include <cstring>

#include <cassert>

#include "nibble/error.h"

namespace nibble {

std::uint64_t QuantizedView::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& plane : planes) sum += plane.size();
  return sum;
}

ConstRowPlanes QuantizedView::row(std::uint64_t index) const {
  ConstRowPlanes row{};
  for (std::size_t i = 0; i < specs.size(); ++i)
    row[i] = planes[i].data() + index / specs[i].row_unit * specs[i].row_bytes;
  return row;
}

void QuantizedView::decode_row(std::uint64_t index, std::span<float> out) const { decode_row(*format, index, out); }

void QuantizedView::decode_row(const Format& twin, std::uint64_t index, std::span<float> out) const {
  assert(index < rows && out.size() == cols);
  twin.decode_row(row(index), tensor_grid.get(), index, out);
  if (!parts) return;
  if (!parts->output_transform.empty())
    throw Error(ErrorKind::unsupported,
                "an output transform mixes rows, which are wanted one by one here: " + parts->output_transform.name());
  apply_to_row(*parts, index, out);
}

std::vector<float> QuantizedView::decode() const {
  std::vector<float> out(static_cast<std::size_t>(checked_elements({rows, cols}, format->name())));
  for (std::uint64_t i = 0; i < rows; ++i) {
    const auto values = std::span(out).subspan(static_cast<std::size_t>(i * cols), static_cast<std::size_t>(cols));
    format->decode_row(row(i), tensor_grid.get(), i, values);
    if (parts) apply_to_row(*parts, i, values);
  }
  if (parts) apply_output_transform(parts->output_transform, rows, cols, out);
  return out;
}

QuantizedTensor::QuantizedTensor(FormatPtr format_, std::uint64_t rows_, std::uint64_t cols_)
    : format(std::move(format_)), rows(rows_), cols(cols_), specs(format->planes(rows_, cols_)) {
  assert(specs.size() <= kMaxPlanes);
  planes.reserve(specs.size());
  for (const PlaneSpec& spec : specs) planes.emplace_back(static_cast<std::size_t>(spec.bytes));
}

QuantizedTensor room_for_rows(FormatPtr format, std::uint64_t count, std::uint64_t rows, std::uint64_t cols) {
  QuantizedTensor part(std::move(format), count, cols);
  const std::vector<PlaneSpec> whole = part.format->planes(rows, cols);
  for (std::size_t p = 0; p < part.specs.size(); ++p) {
    if (part.specs[p].row_bytes != 0) continue;
    part.specs[p] = whole[p];
    part.planes[p].resize(static_cast<std::size_t>(whole[p].bytes));
  }
  return part;
}

QuantizedView QuantizedTensor::view() const {
  QuantizedView view{format, rows, cols, specs, {}, tensor_grid, parts};
  view.planes.assign(planes.begin(), planes.end());
  return view;
}

RowPlanes QuantizedTensor::row(std::uint64_t index) {
  RowPlanes row{};
  for (std::size_t i = 0; i < specs.size(); ++i)
    row[i] = planes[i].data() + index / specs[i].row_unit * specs[i].row_bytes;
  return row;
}

void QuantizedTensor::copy_row(std::uint64_t index, const QuantizedView& from, std::uint64_t from_row) {
  const ConstRowPlanes in = from.row(from_row);
  const RowPlanes out = row(index);
  for (std::size_t p = 0; p < specs.size(); ++p)
    if (specs[p].row_bytes != 0 && index % specs[p].row_unit == 0) std::memcpy(out[p], in[p], specs[p].row_bytes);
}

std::vector<TensorPart> parts_of(const QuantizedView& view) {
  std::vector<TensorPart> list = view.parts ? parts_of(*view.parts) : std::vector<TensorPart>{};
  if (view.format->info().row_unit > 1) list.push_back(TensorPart::row_tile);
  return list;
}

void require_whole_units(const Format& format, std::uint64_t cols, std::uint64_t rows, std::uint64_t begin,
                         std::uint64_t count) {
  const std::uint64_t unit = format.info().row_unit, multiple = format.cut_multiple(cols);
  if (begin % multiple != 0 || ((begin + count) % unit != 0 && begin + count != rows))
    throw Error(ErrorKind::unsupported, format.name() + " keeps " + std::to_string(multiple) +
                                            " rows together, which rows " + std::to_string(begin) + " to " +
                                            std::to_string(begin + count) + " cut");
}

QuantizedView view_of_rows(const QuantizedView& view, std::uint64_t begin, std::uint64_t count) {
  assert(begin + count <= view.rows);
  require_whole_units(*view.format, view.cols, view.rows, begin, count);
  QuantizedView rows{view.format, count, view.cols, view.format->planes(count, view.cols), {}, nullptr};
  if (view.parts) rows.parts = std::make_shared<TensorParts>(parts_of_rows(*view.parts, begin, count));
  ConstRowPlanes first = view.row(begin);
  const std::vector<PlaneSpec> none = view.format->planes(0, view.cols), before = view.format->planes(begin, view.cols);
  for (std::size_t i = 0; i < rows.specs.size(); ++i) {
    // Of the tensor's own planes, what grows with the rows before belongs to them.
    if (rows.specs[i].row_bytes == 0) first[i] += before[i].bytes - none[i].bytes;
    rows.planes.emplace_back(first[i], rows.specs[i].bytes);
  }
  if (view.tensor_grid) rows.tensor_grid = view.format->unpack_tensor(first, count, view.cols);
  return rows;
}

QuantizedView make_view(FormatPtr format, std::uint64_t rows, std::uint64_t cols,
                        std::vector<std::span<const std::byte>> planes, const std::string& what) {
  QuantizedView view{std::move(format), rows, cols, {}, std::move(planes), nullptr, nullptr};
  view.specs = view.format->planes(rows, cols);
  if (view.planes.size() != view.specs.size()) {
    throw Error(ErrorKind::corrupt, what + ": " + view.format->name() + " is stored in " +
                                        std::to_string(view.specs.size()) + " parts, found " +
                                        std::to_string(view.planes.size()));
  }
  ConstRowPlanes first{};
  for (std::size_t i = 0; i < view.specs.size(); ++i) {
    if (view.planes[i].size() != view.specs[i].bytes) {
      const std::string part = view.specs[i].suffix.empty() ? "" : "." + view.specs[i].suffix;
      throw Error(ErrorKind::corrupt, what + part + ": a " + shape_text({rows, cols}) + " tensor in " +
                                          view.format->name() + " takes " + std::to_string(view.specs[i].bytes) +
                                          " bytes, found " + std::to_string(view.planes[i].size()));
    }
    first[i] = view.planes[i].data();
  }
  view.tensor_grid = view.format->unpack_tensor(first, rows, cols);
  return view;
}

}  // namespace nibble
