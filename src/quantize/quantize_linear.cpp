// SPDX-License-Identifier: Apache-2.0
#include "quantize/quantize_linear.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <mutex>
#include <numeric>
#include <vector>

#include "format/outlier_format.h"
#include "format/row_tiles.h"
#include "kernels/encode/encoders.h"
#include "nibble/error.h"
#include "quantize/output_feedback.h"
#include "quantize/transform/rotation.h"

namespace nibble {
namespace {

constexpr std::size_t kGrainElements = 65536;
constexpr std::size_t kRowsTogether = 8;  // that are rounded at a time where outputs are weighed against each other

// The position of the first value that is not a finite number, or the length.
std::size_t find_unfinite(std::span<const float> x) {
  constexpr std::uint32_t kExponent = 0x7f800000u;
  std::uint32_t any = 0;
  for (const float value : x) any |= (std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent ? 1u : 0u;
  if (any == 0) return x.size();
  std::size_t i = 0;
  while ((std::bit_cast<std::uint32_t>(x[i]) & kExponent) != kExponent) ++i;
  return i;
}

// The same in the bytes of a raw format's row, without widening them. f16, bf16, f32: not finite is where the exponent
// is all ones.
template <class Bits>
std::size_t find_unfinite(const std::byte* row, std::size_t count, Bits exponent) {
  const auto is_unfinite = [=](std::size_t i) {
    Bits bits;
    std::memcpy(&bits, row + i * sizeof(Bits), sizeof(Bits));
    return (bits & exponent) == exponent;
  };
  bool any = false;
  for (std::size_t i = 0; i < count; ++i) any |= is_unfinite(i);
  if (!any) return count;
  std::size_t i = 0;
  while (!is_unfinite(i)) ++i;
  return i;
}

std::size_t find_unfinite(const std::string& raw_format, const std::byte* row, std::size_t count) {
  if (raw_format == "f16") return find_unfinite<std::uint16_t>(row, count, 0x7c00u);
  if (raw_format == "bf16") return find_unfinite<std::uint16_t>(row, count, 0x7f80u);
  return find_unfinite<std::uint32_t>(row, count, 0x7f800000u);
}

// From where on values become infinite in a format of 16 bits: halfway between its largest number and the next power of
// two. 0: in none.
float overflow_of(const Format& format) {
  if (format.name() == "f16") return 65520;
  if (format.name() == "bf16") return 0x1.ffp127F;
  return 0;
}

// The position of the first value at or beyond the limit, or the length.
std::size_t find_beyond(std::span<const float> x, float limit) {
  return static_cast<std::size_t>(
      std::find_if(x.begin(), x.end(), [=](float value) { return std::fabs(value) >= limit; }) - x.begin());
}

// The defect that comes first in the output, whichever thread saw which.
class FirstDefect {
 public:
  void report(std::uint64_t row, std::uint64_t col, float value) {
    const std::scoped_lock lock(mutex_);
    if (found_ && row_ <= row) return;
    found_ = true;
    row_ = row;
    col_ = col;
    value_ = value;
  }
  // Judges a row; false when it holds what cannot be stored. overflow: as overflow_of.
  bool accepts(std::uint64_t row, std::span<const float> values, float overflow) {
    std::size_t at = find_unfinite(values);
    if (at == values.size() && overflow > 0) at = find_beyond(values, overflow);
    if (at != values.size()) report(row, at, values[at]);
    return at == values.size();
  }
  void raise_if_any(const LinearWeights& source, const Format* target = nullptr) const {
    if (!found_) return;
    const std::string where = "row " + std::to_string(source.stored_row(row_)) + ", column " + std::to_string(col_);
    const std::string what = (source.file.empty() ? "" : source.file + ": ") + "tensor '" + source.name + "' holds ";
    if (std::isfinite(value_))
      throw Error(ErrorKind::unsupported, what + "a value that " + target->name() + " cannot; use " +
                                              (target->name() == "f16" ? "bf16 or f32" : "f32") + ": " + where +
                                              ", value " + std::to_string(value_));
    throw Error(ErrorKind::corrupt, what + (std::isnan(value_) ? "NaN" : "an infinite value") +
                                        ", which no format can store; repair or retrain the model: " + where);
  }

 private:
  std::mutex mutex_;
  bool found_ = false;
  float value_ = 0;
  std::uint64_t row_ = 0, col_ = 0;
};

std::size_t grain_of(std::uint64_t cols) {
  return std::max<std::size_t>(1, kGrainElements / std::max<std::uint64_t>(1, cols));
}

// Rows of a source as numbers: where they lie, if they lie there as they are wanted, else widened into `kept`.
// rotation: of each row; null: none.
std::span<const float> widen(const LinearWeights& source, const Format& reading, const InputRotation* rotation,
                             RowRange rows, std::vector<float>& kept, ThreadPool& pool) {
  const QuantizedView* const planes = source.values.planes();
  const std::uint64_t cols = source.values.cols();
  FirstDefect defect;
  const bool is_there = planes != nullptr && planes->format->name() == "f32" && source.order.empty() &&
                        !planes->parts && rotation == nullptr &&
                        reinterpret_cast<std::uintptr_t>(planes->planes[0].data()) % alignof(float) == 0;
  if (!is_there) kept.resize(rows.count() * cols);
  const std::span<const float> values =
      is_there
          ? std::span(reinterpret_cast<const float*>(planes->planes[0].data()) + rows.begin * cols, rows.count() * cols)
          : std::span<const float>(kept);
  QuantizedTensor room;
  const TensorRows read = source.read_rows(rows, room, pool);
  pool.parallel_for(rows.count(), grain_of(cols), [&](std::size_t first, std::size_t last, std::size_t) {
    for (std::size_t i = first; i < last; ++i) {
      const std::uint64_t from = source.stored_row(rows.begin + i);
      if (!is_there) read.decode_row(reading, from, std::span(kept).subspan(i * cols, cols));
      const bool is_sound = defect.accepts(rows.begin + i, values.subspan(i * cols, cols), 0);
      if (is_sound && rotation != nullptr) rotation->apply(&kept[i * cols], &kept[i * cols]);
    }
  });
  defect.raise_if_any(source);
  return values;
}

void require_cover(const std::vector<RowMoment>& moments, std::uint64_t rows, std::uint64_t cols,
                   const Format& format) {
  const std::uint64_t row_unit = format.info().row_unit;
  std::uint64_t next = 0;
  for (const RowMoment& moment : moments) {
    if (moment.rows.begin != next || moment.rows.end <= next)
      throw Error(ErrorKind::invalid_argument,
                  "what is known of a Linear's inputs does not follow its rows: a range begins at row " +
                      std::to_string(moment.rows.begin) + " where " + std::to_string(next) + " is next");
    if (moment.rows.begin % row_unit != 0)
      throw Error(ErrorKind::unsupported, format.name() + " keeps " + std::to_string(row_unit) +
                                              " rows together, and a part of this matrix begins between; choose a "
                                              "format with a scale for every row: row " +
                                              std::to_string(moment.rows.begin));
    if (moment.inputs != nullptr && moment.inputs->width() != cols)
      throw Error(ErrorKind::invalid_argument, "statistics of " + std::to_string(moment.inputs->width()) +
                                                   " inputs do not belong to a Linear with " + std::to_string(cols));
    next = moment.rows.end;
  }
  if (next != rows)
    throw Error(ErrorKind::invalid_argument, "what is known of a Linear's inputs ends at row " + std::to_string(next) +
                                                 " of " + std::to_string(rows));
}

}  // namespace

TensorRows LinearWeights::read_rows(RowRange rows, QuantizedTensor& room, ThreadPool& pool) const {
  if (order.empty()) return values.read_rows(rows.begin, rows.end, room, pool);
  const auto [first, last] = std::minmax_element(order.begin() + static_cast<std::ptrdiff_t>(rows.begin),
                                                 order.begin() + static_cast<std::ptrdiff_t>(rows.end));
  return values.read_rows(*first, std::uint64_t{*last} + 1, room, pool);
}

std::vector<RowRange> bands_of(const LinearWeights& weights, const Format& format, std::uint64_t elements) {
  const std::uint64_t step = format.info().row_unit;
  const std::uint64_t rows = std::max(step, elements / std::max<std::uint64_t>(1, weights.values.cols()) / step * step);
  std::vector<RowRange> ranges;
  for (std::uint64_t begin = 0; begin < weights.values.rows(); begin += rows)
    ranges.push_back({begin, std::min(weights.values.rows(), begin + rows)});
  return ranges;
}

std::shared_ptr<const RoundPlan> RoundPlans::of(const Method& method, const FormatPtr& format,
                                                const SiteStatistics* inputs, Machine& machine) {
  if (inputs == nullptr || !inputs->has_second_moment() || method.rounder->needs() != Needs::second_moment ||
      format->info().kind == FormatKind::raw)
    return nullptr;
  const auto [known, is_new] = known_.try_emplace({inputs, std::string(method.rounder->name()) + " " + format->name()});
  if (is_new) {
    known->second.format = with_kernels(format, machine.isa);
    known->second.plan = method.rounder->plan(*inputs, *known->second.format, machine);
  }
  return known->second.plan;
}

const SiteStatistics* RoundPlans::rotated(const SiteStatistics* inputs, const ChannelTransform& transform,
                                          Machine& machine) {
  if (inputs == nullptr) return nullptr;
  const auto [known, is_new] = rotated_.try_emplace({inputs, transform.size});
  if (is_new) known->second = nibble::rotated(*inputs, transform, machine);
  return &known->second;
}

struct LinearQuantizer::Known {
  RowRange rows;
  std::span<const float> importance;  // [cols] or empty
  std::shared_ptr<const RoundPlan> plan;
  std::shared_ptr<const OutputFeedback> outputs;
};

// Rows that are known alike, and the grid that their row numbers count in.
struct LinearQuantizer::Run {
  RowRange rows;
  const Known& known;
  const TensorGrid* grid;
  std::uint64_t grid_begin;  // the tensor's row that is the grid's first
};

LinearQuantizer::~LinearQuantizer() = default;

LinearQuantizer::LinearQuantizer(const LinearTask& task, RoundPlans& plans, Machine& machine)
    : task_(task),
      machine_(machine),
      reading_(with_kernels(task.weights.values.format(), machine.isa)),
      writing_(with_kernels(task.format, machine.isa)),
      is_copy_(task.weights.values.format()->name() == task.format->name() &&
               task.weights.values.parts() == task.parts),
      is_raw_(task.format->info().kind == FormatKind::raw) {
  const TensorSource& source = task.weights.values;
  if (!is_copy_ && task.parts) {
    assert(parts_of(*task.parts) == std::vector{TensorPart::input_transform});
    rotation_.emplace(task.parts->input_transform, source.cols(), machine.isa);
  }
  // Rows that share a grid cannot be copied into another order.
  if (task.format->info().row_unit != 1 && !task.weights.order.empty()) is_copy_ = false;
  std::vector<RowMoment> moments = task.moments;
  if (moments.empty()) moments.push_back({.rows = {0, source.rows()}});
  require_cover(moments, source.rows(), source.cols(), *task.format);
  for (const RowMoment& moment : moments) {
    Known& known = known_.emplace_back(Known{moment.rows, {}, nullptr, nullptr});
    if (is_raw_ || is_copy_ || moment.inputs == nullptr) continue;
    const bool asks = task.method.needs() >= Needs::mean_square;
    const SiteStatistics* const inputs =
        rotation_ && asks ? plans.rotated(moment.inputs, task.parts->input_transform, machine) : moment.inputs;
    if (asks) known.importance = inputs->mean_square;
    known.plan = plans.of(task.method, task.format, inputs, machine);
    if (!moment.outputs.empty()) {
      // Rows that know their place in a tensor, or share tiles, stay side by side.
      const bool moves = !writing_->needs_prepare() && writing_->info().row_unit == 1;
      known.outputs = std::make_shared<const OutputFeedback>(
          moment.outputs, moment.rows.count(), std::lcm(kRowsTogether, writing_->info().row_unit), moves, machine);
    }
  }
  if (is_copy_)
    grid_ = source.tensor_grid();
  else if (writing_->needs_prepare() && !has_grids_of_runs())
    prepare();
}

std::span<const float> LinearQuantizer::read(RowRange rows, std::vector<float>& kept) const {
  return widen(task_.weights, *reading_, rotation_ ? &*rotation_ : nullptr, rows, kept, machine_.pool);
}

void LinearQuantizer::prepare() {
  const std::uint64_t rows = task_.weights.values.rows(), cols = task_.weights.values.cols();
  std::vector<float> kept, mean;
  const std::span<const float> weights = read({0, rows}, kept);
  std::span<const float> importance = known_.front().importance;
  // Several ranges: what a row of the tensor sees on the average.
  if (known_.size() > 1 && std::ranges::none_of(known_, [](const Known& known) { return known.importance.empty(); })) {
    mean.resize(cols);
    for (const Known& known : known_)
      for (std::uint64_t col = 0; col < cols; ++col)
        mean[col] += known.importance[col] * static_cast<float>(known.rows.count()) / static_cast<float>(rows);
    importance = mean;
  }
  grid_ = writing_->prepare(weights, rows, cols, importance, task_.method.fit);
}

std::unique_ptr<TensorGrid> LinearQuantizer::prepare_run(const Run& run) const {
  std::vector<float> kept;
  const std::span<const float> values = read(run.rows, kept);
  return writing_->prepare(values, run.rows.count(), task_.weights.values.cols(), run.known.importance,
                           task_.method.fit);
}

QuantizedTensor LinearQuantizer::blank(RowRange rows) const {
  const TensorSource& source = task_.weights.values;
  QuantizedTensor band = room_for_rows(task_.format, rows.count(), source.rows(), source.cols());
  band.tensor_grid = grid_;
  // Planes that belong to the whole tensor are the same in every band.
  bool has_tensor_planes = false;
  for (std::size_t p = 0; p < band.specs.size(); ++p) {
    if (band.specs[p].row_bytes != 0) continue;
    if (is_copy_) std::memcpy(band.planes[p].data(), source.planes()->planes[p].data(), band.planes[p].size());
    has_tensor_planes = true;
  }
  if (has_tensor_planes && !is_copy_ && rows.count() > 0) task_.format->pack_tensor(grid_.get(), band.row(0));
  return band;
}

QuantizedTensor LinearQuantizer::encode(RowRange rows) const {
  QuantizedTensor band = blank(rows);
  if (is_copy_) {
    copy_rows(rows, band);
    return band;
  }
  for (const Known& known : known_) {
    const RowRange own{std::max(rows.begin, known.rows.begin), std::min(rows.end, known.rows.end)};
    if (own.begin >= own.end) continue;
    Run run{own, known, grid_.get(), 0};
    std::unique_ptr<TensorGrid> own_grid;
    if (has_grids_of_runs()) {
      own_grid = prepare_run(run);
      run.grid = own_grid.get();
      run.grid_begin = own.begin;
      writing_->pack_tensor(run.grid, band.row(own.begin - rows.begin));
    }
    if (known.plan || known.outputs || find_row_tiles(*writing_) != nullptr ||
        find_outlier_format(*writing_) != nullptr)
      encode_planned(run, band, rows.begin);
    else
      encode_rows(run, band, rows.begin);
  }
  return band;
}

// Judged by the format's own rules where it has any, as numbers where it is numbers.
void LinearQuantizer::copy_rows(RowRange rows, QuantizedTensor& band) const {
  const std::uint64_t cols = task_.weights.values.cols();
  QuantizedTensor room;
  const TensorRows read = task_.weights.read_rows(rows, room, machine_.pool);
  FirstDefect defect;
  machine_.pool.parallel_for(rows.count(), grain_of(cols), [&](std::size_t first, std::size_t last, std::size_t) {
    std::vector<float> values;
    for (std::size_t i = first; i < last; ++i) {
      const std::uint64_t from = task_.weights.stored_row(rows.begin + i);
      band.copy_row(i, read.planes, from - read.first);
      if (!is_raw_ || find_unfinite(task_.format->name(), read.row(from)[0], cols) == cols) continue;
      values.resize(cols);
      reading_->decode_row(read.row(from), nullptr, from, values);
      defect.accepts(rows.begin + i, values, 0);
    }
  });
  defect.raise_if_any(task_.weights);
}

void LinearQuantizer::encode_rows(const Run& run, QuantizedTensor& band, std::uint64_t first_row) const {
  const RowRange rows = run.rows;
  const std::uint64_t cols = task_.weights.values.cols();
  QuantizedTensor room;
  const TensorRows read = task_.weights.read_rows(rows, room, machine_.pool);
  const float overflow = overflow_of(*task_.format);
  FirstDefect defect;
  std::vector<std::vector<float>> scratch(machine_.pool.num_threads());
  machine_.pool.parallel_for(
      rows.count(), grain_of(cols), [&](std::size_t first, std::size_t last, std::size_t worker) {
        std::vector<float>& values = scratch[worker];
        values.resize(cols);
        for (std::size_t i = first; i < last; ++i) {
          const std::uint64_t row = rows.begin + i, from = task_.weights.stored_row(row);
          read.decode_row(*reading_, from, values);
          if (!defect.accepts(row, values, overflow)) return;
          if (rotation_) rotation_->apply(values.data(), values.data());
          const RowPlanes out = band.row(row - first_row);
          if (is_raw_)
            writing_->encode_row(values, {}, nullptr, row, {}, out);
          else
            task_.method.rounder->encode(
                *writing_, {values, run.known.importance, run.grid, row - run.grid_begin, task_.method.fit}, out);
        }
      });
  defect.raise_if_any(task_.weights, task_.format.get());
}

void LinearQuantizer::encode_planned(const Run& run, QuantizedTensor& band, std::uint64_t first_row) const {
  const RowRange rows = run.rows;
  const std::uint64_t cols = task_.weights.values.cols();
  std::vector<float> kept;
  const std::span<const float> values = read(rows, kept);
  if (run.known.outputs) return encode_together(run, values, band, first_row);
  const RoundBand input{.values = values,
                        .importance = run.known.importance,
                        .rows = rows.count(),
                        .cols = cols,
                        .first_row = rows.begin - run.grid_begin,
                        .tensor_grid = run.grid,
                        .fit = task_.method.fit,
                        .plan = run.known.plan.get()};
  if (rows.count() == band.rows) return task_.method.rounder->encode_band(*writing_, input, band, machine_);
  QuantizedTensor part(task_.format, rows.count(), cols);
  if (has_grids_of_runs()) writing_->pack_tensor(run.grid, part.row(0));
  task_.method.rounder->encode_band(*writing_, input, part, machine_);
  const QuantizedView encoded = part.view();
  for (std::uint64_t row = 0; row < rows.count(); ++row) band.copy_row(rows.begin - first_row + row, encoded, row);
}

// Some rows at a time, which aim at what their own weights and the errors of those before them ask for.
void LinearQuantizer::encode_together(const Run& run, std::span<const float> values, QuantizedTensor& band,
                                      std::uint64_t first_row) const {
  const RowRange rows = run.rows;
  const std::uint64_t cols = task_.weights.values.cols();
  assert(rows.count() == run.known.rows.count());
  OutputFeedback::Targets targets(*run.known.outputs, values, cols, machine_);
  const QuantizedView packed = band.view();
  std::vector<float> stored;
  while (!targets.is_done()) {
    const std::span<const std::uint32_t> places = targets.rows();
    const std::uint64_t tensor_row = rows.begin + places.front() - run.grid_begin;
    // Grids of the tensor or of blocks of rows are in the planes before the rows that are read back by them.
    QuantizedTensor part = blank({0, places.size()});
    for (std::size_t i = 0; i < places.size() && has_grids_of_runs(); ++i)
      part.copy_row(i, packed, rows.begin - first_row + places[i]);
    task_.method.rounder->encode_band(*writing_,
                                      {.values = targets.values(),
                                       .importance = run.known.importance,
                                       .rows = places.size(),
                                       .cols = cols,
                                       .first_row = tensor_row,
                                       .tensor_grid = run.grid,
                                       .fit = task_.method.fit,
                                       .plan = run.known.plan.get()},
                                      part, machine_);
    stored.resize(places.size() * cols);
    const QuantizedView view = part.view();
    for (std::size_t i = 0; i < places.size(); ++i) {
      writing_->decode_row(view.row(i), run.grid, tensor_row + i, std::span(stored).subspan(i * cols, cols));
      band.copy_row(rows.begin - first_row + places[i], view, i);
    }
    targets.advance(stored);
  }
}

void LinearQuantizer::decode(const QuantizedTensor& band, std::uint64_t first_row, std::span<float> matrix) const {
  const QuantizedView view = band.view();
  if (view.rows == 0) return;
  // Through the bytes, tensor-wide parts included.
  const bool has_tensor_planes =
      std::ranges::any_of(view.specs, [](const PlaneSpec& spec) { return spec.row_bytes == 0; });
  const std::shared_ptr<const TensorGrid> grid =
      task_.format->unpack_tensor(view.row(0), has_tensor_planes ? task_.weights.values.rows() : view.rows, view.cols);
  machine_.pool.parallel_for(view.rows, 16, [&](std::size_t first, std::size_t last, std::size_t) {
    for (std::size_t i = first; i < last; ++i) {
      const std::uint64_t row = task_.weights.stored_row(first_row + i);
      const std::span<float> values = matrix.subspan(row * view.cols, view.cols);
      writing_->decode_row(view.row(i), grid.get(), first_row + i, values);
      if (task_.parts) apply_to_row(*task_.parts, row, values);
    }
  });
}

QuantizedTensor quantize_linear(const LinearTask& task, Machine& machine) {
  RoundPlans plans;
  return LinearQuantizer(task, plans, machine).encode({0, task.weights.values.rows()});
}

}  // namespace nibble
