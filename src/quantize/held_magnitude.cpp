// SPDX-License-Identifier: Apache-2.0
#include "quantize/held_magnitude.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/encode/encoders.h"
#include "quantize/recipe.h"
#include "quantize/round/nearest.h"

namespace nibble {
namespace {

constexpr std::uint64_t kRows = 16;
// A multiple of every block, so that a cut row is one that any format takes that takes the whole.
constexpr std::uint64_t kColumns = 1024;
// The deviation at which formats are at their best: in the middle of what halves hold, and within E4M3.
constexpr int kComfortable = 0;
// A format that loses half again as much as usual, and a hundredth of the weights, does not hold them.
constexpr double kWorse = 1.5, kShare = 0.01;
// Vector codes are searched for slowly, and their scales hold at least this.
constexpr float kSafeLow = 0x1p-8f, kSafeHigh = 0x1p8f;
// bf16 ends a little below f32: what lies between is refused where it is met, and no reason to look at all weights.
constexpr double kSaturation = 1.01;

// A quarter of the rows may be worse: rows that training has left near zero stand for nothing.
double upper_quartile(std::vector<double> values) {
  std::ranges::sort(values);
  return values[(values.size() - 1) * 3 / 4];
}

bool is_worse(double error, double usual) { return !(error <= kWorse * usual || error - usual <= kShare); }

}  // namespace

bool needs_peak(const Format& source, const Format& target) {
  return source.info().kind != FormatKind::raw ||
         source.info().max_magnitude > kSaturation * target.info().max_magnitude;
}

MagnitudeSample::MagnitudeSample(const TensorSource& source, const std::optional<WeightPeak>& peak, Isa isa)
    : isa_(isa), cols_(std::min(source.cols(), kColumns)) {
  if (source.rows() == 0 || source.cols() == 0) return;
  if (peak && !peak->is_finite) {
    is_finite_ = false;
    return;
  }
  const FormatPtr reading = with_kernels(source.format(), isa);
  std::vector<float> row(source.cols());
  const auto keep = [&](std::uint64_t index, std::uint64_t first_column) {
    QuantizedTensor room;
    source.read_rows(index, index + 1, room).decode_row(*reading, index, row);
    PeakSearch search(DType::f32, source.cols());
    search.add(std::as_bytes(std::span(row)));
    const WeightPeak of_row = search.peak();
    largest_ = std::max(largest_, of_row.magnitude);
    is_finite_ = is_finite_ && of_row.is_finite;
    values_.insert(values_.end(), row.begin() + static_cast<std::ptrdiff_t>(first_column),
                   row.begin() + static_cast<std::ptrdiff_t>(first_column + cols_));
    ++rows_;
  };
  const std::uint64_t kept = std::min(kRows, source.rows());
  for (std::uint64_t i = 0; i < kept; ++i) {
    // Other columns in each row, so that no part of them goes unseen.
    const std::uint64_t places = source.cols() / kColumns;
    keep((2 * i + 1) * source.rows() / (2 * kept), places == 0 ? 0 : i % places * kColumns);
  }
  if (!peak) return;
  keep(peak->row, std::min(peak->column / kColumns * kColumns, source.cols() - cols_));
  has_peak_ = true;
}

// Of each row that holds anything: what encoding takes of it, as a share of its length.
std::vector<double> MagnitudeSample::errors(const Format& format, const FitOptions& fit,
                                            std::span<const float> values) const {
  QuantizedTensor coded(find_format(format.name()), rows_, cols_);
  coded.tensor_grid = format.prepare(values, rows_, cols_, {}, fit);
  if (coded.tensor_grid) format.pack_tensor(coded.tensor_grid.get(), coded.row(0));
  Machine alone(isa_, 1);
  make_nearest_rounder()->encode_band(format, {values, {}, rows_, cols_, 0, coded.tensor_grid.get(), fit}, coded,
                                      alone);
  const QuantizedView packed = coded.view();
  const QuantizedView view = make_view(packed.format, rows_, cols_, packed.planes, format.name());
  std::vector<double> result;
  std::vector<float> decoded(cols_);
  for (std::uint64_t r = 0; r < rows_; ++r) {
    view.decode_row(r, decoded);
    double power = 0, lost = 0;
    for (std::uint64_t i = 0; i < cols_; ++i) {
      const auto x = static_cast<double>(values[r * cols_ + i]);
      const double error = x - static_cast<double>(decoded[i]);
      power += x * x;
      lost += error * error;
    }
    result.push_back(power > 0 ? std::sqrt(lost / power) : 0);
  }
  return result;
}

bool MagnitudeSample::is_held_by(const FormatPtr& format, const FitOptions& fit) const {
  if (!is_finite_ || rows_ == 0 || largest_ == 0 || format->name() == "f32") return true;
  if (static_cast<double>(largest_) > format->info().max_magnitude) return false;
  double power = 0;
  for (const float value : values_) power += static_cast<double>(value) * static_cast<double>(value);
  const double deviation = std::sqrt(power / static_cast<double>(values_.size()));
  if (!(deviation > 0)) return true;
  if (format->info().unit > 1 && deviation >= static_cast<double>(kSafeLow) && largest_ <= kSafeHigh) return true;
  const FormatPtr fast = with_kernels(format, isa_);
  std::vector<double> own = errors(*fast, fit, values_);
  std::vector<float> moved(values_.size());
  const int exponent = kComfortable - std::ilogb(deviation);
  std::ranges::transform(values_, moved.begin(), [exponent](float value) {
    const float result = std::ldexp(value, exponent);
    return std::isfinite(result) ? result : std::copysign(std::numeric_limits<float>::max(), result);
  });
  std::vector<double> usual = errors(*fast, fit, moved);
  if (has_peak_ && is_worse(own.back(), usual.back())) return false;
  return !is_worse(upper_quartile(std::move(own)), upper_quartile(std::move(usual)));
}

FormatPtr held_format(const FormatPtr& wanted, const MagnitudeSample& sample, const FitOptions& fit,
                      std::uint64_t cols) {
  if (sample.is_held_by(wanted, fit)) return wanted;
  const std::vector<FormatPtr> others = other_scales(wanted, cols);
  for (const FormatPtr& other : others)
    if (sample.is_held_by(other, fit)) return other;
  return others.back();
}

}  // namespace nibble
