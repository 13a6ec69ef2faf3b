// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/tensor_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include "base/huge_pages.h"
#include "format/reordered_columns.h"
#include "kernels/encode/encoders.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// Elements of a band: what is resident of source and output at a time.
constexpr std::uint64_t kBandElements = std::uint64_t{8} << 20;

std::string piece_name(std::size_t tensor, std::uint64_t row) { return fmt::format("{}-{}", tensor, row); }
std::string error_piece_name(std::size_t tensor) { return fmt::format("{}-error", tensor); }

std::string learnt_piece_name(std::int64_t layer) { return fmt::format("layer-{}-learnt", layer); }

StoredMatrix room_of(const LinearTask& task) {
  const std::uint64_t rows = task.weights.values.rows(), cols = task.weights.values.cols();
  return {{rows, cols, large_vector(rows * cols)}, {}, nullptr};
}

// Back from the output's columns to the source's.
void restore_columns(const std::vector<std::uint32_t>& order, Matrix& matrix) {
  std::vector<float> row(order.size());
  for (std::uint64_t r = 0; r < matrix.rows && !order.empty(); ++r) {
    float* const values = &matrix.values[r * matrix.cols];
    for (std::size_t c = 0; c < order.size(); ++c) row[order[c]] = values[c];
    std::ranges::copy(row, values);
  }
}

bool is_raw(const TensorPlan& tensor) { return tensor.target.format->info().kind == FormatKind::raw; }

}  // namespace

std::uint64_t progress_weight(TensorRole role, bool is_calibrated) {
  return is_calibrated && role == TensorRole::linear ? 16 : 1;
}

TensorOutput::TensorOutput(const QuantizePlan& plan, BandWriter& bands, ProgressMeter& meter,
                           const TensorOutputOptions& options, Machine& machine)
    : plan_(plan),
      output_of_(output_tensors(plan).of_plan),
      bands_(bands),
      meter_(meter),
      options_(options),
      machine_(machine) {
  if (!is_shared(options_.transport)) return;
  std::string names;
  if (options_.work != nullptr)
    for (const std::string& name : options_.work->names()) names += name + '\n';
  const Bytes bytes = options_.transport->broadcast(std::as_bytes(std::span(names)), 0, "pieces of a run before");
  std::istringstream lines(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  for (std::string name; std::getline(lines, name);) found_.insert(name);
}

std::uint64_t TensorOutput::weight_of(const TensorPlan& tensor) const {
  return progress_weight(tensor.role, options_.work != nullptr);
}

LinearWeights TensorOutput::weights_of(std::size_t index, TensorSource values) const {
  const TensorPlan& tensor = plan_.tensors[index];
  if (!tensor.column_order.empty()) values = reordered_columns(values, tensor.column_order);
  return {
      .values = std::move(values), .name = tensor.source->name, .file = tensor.source->file, .order = tensor.row_order};
}

void TensorOutput::write(std::size_t index, const LinearTask& task, RoundPlans& plans,
                         const std::function<void()>& after_band) {
  write_bands(index, task, plans, false, [&](const LinearQuantizer&, const QuantizedTensor&, std::uint64_t) {
    if (after_band) after_band();
  });
}

StoredMatrix TensorOutput::write_and_keep(std::size_t index, const LinearTask& task, RoundPlans& plans,
                                          bool keeps_codes) {
  StoredMatrix stored = room_of(task);
  keeps_codes = keeps_codes && !is_raw(plan_.tensors[index]) && plan_.tensors[index].column_order.empty();
  write_bands(index, task, plans, true,
              [&](const LinearQuantizer& linear, const QuantizedTensor& band, std::uint64_t first_row) {
                keep_band(linear, band, first_row, task, keeps_codes, stored);
              });
  restore_columns(plan_.tensors[index].column_order, stored.values);
  return stored;
}

std::vector<RowRange> TensorOutput::bands_of_tensor(std::size_t index, const LinearWeights& weights) const {
  const TensorPlan& tensor = plan_.tensors[index];
  const bool is_whole = options_.keeps_rows_together && tensor.role == TensorRole::linear && !is_raw(tensor);
  return bands_of(weights, *tensor.target.format, is_whole ? std::numeric_limits<std::uint64_t>::max() : kBandElements);
}

std::vector<RowRange> TensorOutput::bands_of_tensor(std::size_t index) const {
  return bands_of_tensor(index, weights_of(index, plan_.tensors[index].source->values));
}

StoredMatrix TensorOutput::round_and_keep(std::size_t index, const LinearTask& task, RoundPlans& plans) {
  StoredMatrix stored = room_of(task);
  const LinearQuantizer linear(task, plans, machine_);
  for (const RowRange rows : bands_of_tensor(index, task.weights))
    keep_band(linear, linear.encode(rows), rows.begin, task, plan_.tensors[index].column_order.empty(), stored);
  restore_columns(plan_.tensors[index].column_order, stored.values);
  return stored;
}

// Rows that know their place in a tensor, or share a grid, cannot be put into another order: their codes are not kept.
void TensorOutput::keep_band(const LinearQuantizer& linear, const QuantizedTensor& band, std::uint64_t first_row,
                             const LinearTask& task, bool keeps_codes, StoredMatrix& stored) const {
  linear.decode(band, first_row, stored.values.values);
  stored.tensor_grid = linear.tensor_grid();
  if (!keeps_codes || stored.tensor_grid != nullptr || task.format->info().row_unit != 1) return;
  if (!stored.codes) stored.codes.emplace(task.format, stored.values.rows, stored.values.cols);
  stored.codes->parts = task.parts;
  const QuantizedView view = band.view();
  for (std::uint64_t row = 0; row < band.rows; ++row)
    stored.codes->copy_row(task.weights.stored_row(first_row + row), view, row);
}

void TensorOutput::make_ahead(std::size_t index, const LinearTask& task, RoundPlans& plans) {
  const LinearQuantizer linear(task, plans, machine_);
  for (const RowRange rows : bands_of_tensor(index, task.weights))
    if (const std::string name = piece_name(index, rows.begin); !has_piece(name))
      ahead_.insert_or_assign(name, linear.encode(rows));
}

void TensorOutput::write_bands(std::size_t index, const LinearTask& task, RoundPlans& plans, bool is_kept,
                               const BandUse& use) {
  const TensorPlan& tensor = plan_.tensors[index];
  const std::vector<RowRange> bands = bands_of_tensor(index, task.weights);
  if (std::ranges::none_of(bands, [&](RowRange rows) { return owns(index, rows); })) return;
  const LinearQuantizer linear(task, plans, machine_);
  for (const RowRange rows : bands) {
    if (!owns(index, rows)) continue;
    QuantizedTensor band = piece(index, linear, rows, is_kept);
    use(linear, band, rows.begin);
    bands_.write(output_of_[index], std::move(band));
    meter_.advance(rows.count() * tensor.cols * weight_of(tensor), tensor.target.name);
  }
}

// Numbers that are only copied are copied again by a run that goes on alone.
bool TensorOutput::keeps_pieces_of(std::size_t index) const {
  return options_.work != nullptr && (options_.share != nullptr || !is_raw(plan_.tensors[index]));
}

bool TensorOutput::has_piece(const std::string& name) const {
  if (is_shared(options_.transport)) return found_.contains(name);
  return options_.work != nullptr && options_.work->has(name);
}

QuantizedTensor TensorOutput::piece(std::size_t index, const LinearQuantizer& linear, RowRange rows, bool is_kept) {
  if (is_shared(options_.transport)) return piece_of_ranks(index, linear, rows, is_kept);
  if (!keeps_pieces_of(index)) return linear.encode(rows);
  const std::string name = piece_name(index, rows.begin);
  if (options_.work->has(name))
    if (QuantizedTensor kept = linear.blank(rows); options_.work->load(name, kept)) return kept;
  QuantizedTensor band = linear.encode(rows);
  options_.work->store(name, band);
  return band;
}

// Of one rank for all, or for the one that writes.
QuantizedTensor TensorOutput::piece_of_ranks(std::size_t index, const LinearQuantizer& linear, RowRange rows,
                                             bool is_kept) {
  Transport& ranks = *options_.transport;
  const std::string& what = plan_.tensors[index].target.name;
  if (is_raw(plan_.tensors[index])) return is_kept || ranks.is_root() ? linear.encode(rows) : linear.blank(rows);
  const std::string name = piece_name(index, rows.begin);
  const bool is_found = has_piece(name);
  if (!is_found && !maker_) {
    QuantizedTensor band = piece_of_shares(index, linear, rows, is_kept);
    if (options_.work != nullptr) options_.work->store(name, band);
    return band;
  }
  const std::size_t from = is_found ? 0 : *maker_;
  QuantizedTensor band = linear.blank(rows);
  if (is_found && ranks.is_root() && !options_.work->load(name, band))
    throw Error(ErrorKind::corrupt, fmt::format("a piece of a run before is damaged; remove it and give the same "
                                                "command again: {}",
                                                (options_.work->path() / name).string()));
  if (const auto own = ahead_.find(name); own != ahead_.end() && from == ranks.rank()) {
    band = std::move(own->second);
    ahead_.erase(own);
  }
  Bytes bytes;
  if (from == ranks.rank())
    for (const auto& plane : band.planes) bytes.insert(bytes.end(), plane.begin(), plane.end());
  bytes = ranks.broadcast(bytes, from, what);
  const std::byte* at = bytes.data();
  for (auto& plane : band.planes) {
    std::copy_n(at, plane.size(), plane.begin());
    at += plane.size();
  }
  if (!is_found && options_.work != nullptr) options_.work->store(name, band);
  return band;
}

// Each rank makes a share of the rows. Planes of the whole tensor are the same on all ranks.
QuantizedTensor TensorOutput::piece_of_shares(std::size_t index, const LinearQuantizer& linear, RowRange rows,
                                              bool is_kept) {
  Transport& ranks = *options_.transport;
  const TensorPlan& tensor = plan_.tensors[index];
  const std::uint64_t unit = tensor.target.format->cut_multiple(tensor.cols);
  const std::uint64_t units = (rows.count() + unit - 1) / unit;
  const auto begin_of = [&](std::size_t rank) {
    return std::min(rows.end, rows.begin + begin_of_share(units, rank, ranks.size()) * unit);
  };
  const RowRange own{begin_of(ranks.rank()), begin_of(ranks.rank() + 1)};
  Bytes bytes;
  if (own.count() > 0) {
    const QuantizedTensor made = linear.encode(own);
    for (std::size_t p = 0; p < made.planes.size(); ++p)
      if (made.specs[p].row_bytes != 0) bytes.insert(bytes.end(), made.planes[p].begin(), made.planes[p].end());
  }
  const std::vector<Bytes> all =
      is_kept ? ranks.all_gather(bytes, tensor.target.name) : ranks.gather(bytes, tensor.target.name);
  QuantizedTensor band = linear.blank(rows);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const std::byte* at = all[rank].data();
    const RowRange theirs{begin_of(rank), begin_of(rank + 1)};
    for (std::size_t p = 0; p < band.planes.size() && theirs.count() > 0; ++p) {
      const PlaneSpec& spec = band.specs[p];
      if (spec.row_bytes == 0) continue;
      const std::uint64_t first = (theirs.begin - rows.begin) / spec.row_unit;
      const std::uint64_t count = (theirs.count() + spec.row_unit - 1) / spec.row_unit;
      std::copy_n(at, count * spec.row_bytes,
                  band.planes[p].begin() + static_cast<std::ptrdiff_t>(first * spec.row_bytes));
      at += count * spec.row_bytes;
    }
  }
  return band;
}

void TensorOutput::write_vector(std::size_t index, std::span<const float> values) {
  const TensorPlan& tensor = plan_.tensors[index];
  if (!owns(index, {0, tensor.rows})) return;
  const std::vector<std::uint32_t>& order = tensor.row_order;
  const std::size_t length = order.empty() ? values.size() : values.size() / order.size();  // of what keeps together
  std::vector<float> moved(values.size());
  for (std::size_t i = 0; i < moved.size(); ++i) {
    moved[i] = tensor.target_numbers.write(values[order.empty() ? i : order[i / length] * length + i % length]);
    if (!std::isfinite(moved[i]))
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: tensor '{}' holds a number that the output cannot say: element {}",
                              tensor.source->file, tensor.source->name, i));
  }
  QuantizedTensor result(tensor.target.format, tensor.rows, tensor.cols);
  for (std::uint64_t row = 0; row < tensor.rows; ++row)
    tensor.target.format->encode_row(std::span(moved).subspan(row * tensor.cols, tensor.cols), {}, nullptr, row, {},
                                     result.row(row));
  if (options_.share != nullptr) options_.work->store(piece_name(index, 0), result);
  bands_.write(output_of_[index], std::move(result));
  meter_.advance(moved.size() * weight_of(tensor), tensor.target.name);
}

bool TensorOutput::is_done(std::size_t index) const {
  const TensorPlan& tensor = plan_.tensors[index];
  if (is_raw(tensor)) return true;
  if (!has_piece(error_piece_name(index))) return false;
  return std::ranges::all_of(bands_of_tensor(index),
                             [&](RowRange band) { return has_piece(piece_name(index, band.begin)); });
}

bool TensorOutput::load_error(std::size_t index) {
  QuantizedTensor piece(find_raw_format(DType::f32), 1, 2);
  std::array<float, 2> values{};
  if (options_.work == nullptr || !options_.work->load(error_piece_name(index), piece)) return false;
  std::memcpy(values.data(), piece.planes[0].data(), sizeof values);
  errors_[index] = {static_cast<double>(values[0]), static_cast<double>(values[1])};
  return true;
}

void TensorOutput::record_error(std::size_t index, const RoundedLinear& linear) {
  const bool is_found = load_error(index);
  if (is_found && !is_shared(options_.transport)) return;
  QuantizedTensor piece(find_raw_format(DType::f32), 1, 2);
  std::array<float, 2> values{};
  // Of ranks one measures, and says so to the one that writes.
  const std::size_t from = maker_.value_or(0), rank = options_.transport == nullptr ? 0 : options_.transport->rank();
  if (from == rank && !is_found) {
    const OutputError error =
        measure_output_error(linear, with_kernels(plan_.tensors[index].target.format, machine_.isa), machine_);
    values = {static_cast<float>(error.nearest), static_cast<float>(error.stored)};
  }
  if (is_shared(options_.transport) && maker_) {
    const Bytes bytes =
        options_.transport->broadcast(std::as_bytes(std::span(values)), from, plan_.tensors[index].target.name);
    std::memcpy(values.data(), bytes.data(), sizeof values);
  }
  if (rank != 0 || is_found) return;
  std::memcpy(piece.planes[0].data(), values.data(), sizeof values);
  if (options_.work != nullptr) options_.work->store(error_piece_name(index), piece);
  errors_[index] = {static_cast<double>(values[0]), static_cast<double>(values[1])};
}

std::vector<std::string> TensorOutput::piece_names() const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < plan_.tensors.size(); ++i)
    for (const RowRange rows : bands_of_tensor(i))
      if (owns(i, rows)) names.push_back(piece_name(i, rows.begin));
  return names;
}

void TensorOutput::write_pieces(std::size_t index) {
  const TensorPlan& tensor = plan_.tensors[index];
  for (const RowRange rows : bands_of_tensor(index)) {
    QuantizedTensor band = room_for_rows(tensor.target.format, rows.count(), tensor.rows, tensor.cols);
    const std::string name = piece_name(index, rows.begin);
    if (!options_.work->load(name, band))
      throw Error(
          ErrorKind::corrupt,
          fmt::format("a piece is damaged; run the parts again, which makes what is damaged anew: {}, of tensor '{}'",
                      (options_.work->path() / name).string(), tensor.target.name));
    bands_.write(output_of_[index], std::move(band));
    meter_.advance(rows.count() * tensor.cols * weight_of(tensor), tensor.target.name);
  }
  load_error(index);
}

std::optional<LearntLayer> TensorOutput::find_learnt(std::int64_t layer) {
  QuantizedTensor piece(find_raw_format(DType::f32), 1, 3);
  std::array<float, 3> values{};
  if (options_.work == nullptr || !options_.work->load(learnt_piece_name(layer), piece)) return std::nullopt;
  std::memcpy(values.data(), piece.planes[0].data(), sizeof values);
  return LearntLayer{.layer = layer,
                     .before = static_cast<double>(values[0]),
                     .after = static_cast<double>(values[1]),
                     .kept_step = static_cast<std::uint64_t>(values[2])};
}

void TensorOutput::record_learnt(const LearntLayer& learnt) {
  QuantizedTensor piece(find_raw_format(DType::f32), 1, 3);
  const std::array<float, 3> values = {static_cast<float>(learnt.before), static_cast<float>(learnt.after),
                                       static_cast<float>(learnt.kept_step)};
  std::memcpy(piece.planes[0].data(), values.data(), sizeof values);
  if (options_.work != nullptr) options_.work->store(learnt_piece_name(learnt.layer), piece);
  learnt_.push_back(learnt);
}

void write_alone(std::size_t index, const QuantizePlan& plan, const QuantizeModelOptions& options,
                 const SourceModel& source, TensorOutput& output, Machine& machine) {
  const TensorPlan& tensor = plan.tensors[index];
  if (!output.concerns(index)) return;
  source.require_unchanged(*tensor.source);
  if (is_vector(tensor.role) && (!tensor.row_order.empty() || tensor.source_numbers != tensor.target_numbers)) {
    std::vector<float> values = decode_matrix(*tensor.source, machine.pool).values;
    for (float& value : values) value = tensor.source_numbers.read(value);
    output.write_vector(index, values);
  } else {
    const LinearTask task{.weights = output.weights_of(index, tensor.source->values),
                          .format = tensor.target.format,
                          .method = method_for(tensor, options),
                          .parts = tensor.target.parts};
    RoundPlans plans;
    output.write(index, task, plans, [&] { source.release(*tensor.source); });
  }
  source.require_unchanged(*tensor.source);
}

}  // namespace nibble
