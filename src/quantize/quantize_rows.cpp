// SPDX-License-Identifier: Apache-2.0
#include "quantize/quantize_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <mutex>
#include <vector>

#include "kernels/encoders.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kGrainElements = 65536;

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

// The same in the bytes of a raw format's row, without widening them. f16, bf16, f32: not finite is where the exponent is all ones.
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

std::uint64_t source_row(const RowSource& source, std::uint64_t row) { return source.order ? source.order(row, source.order_argument) : row; }

// The position of the first value that becomes infinite in f16, or the length.
std::size_t find_beyond_f16(std::span<const float> x) {
  constexpr float kLimit = 65520;  // halfway between the largest half and the next power of two
  return static_cast<std::size_t>(std::find_if(x.begin(), x.end(), [](float value) { return std::fabs(value) >= kLimit; }) - x.begin());
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
  void raise_if_any(const RowSource& source) const {
    if (!found_) return;
    const std::string where = "row " + std::to_string(source_row(source, row_)) + ", column " + std::to_string(col_);
    const std::string what = (source.file.empty() ? "" : source.file + ": ") + "tensor '" + source.name + "' holds ";
    if (std::isfinite(value_))
      throw Error(ErrorKind::unsupported, what + "a value that f16 cannot; use bf16 or f32: " + where + ", value " + std::to_string(value_));
    throw Error(ErrorKind::corrupt,
                what + (std::isnan(value_) ? "NaN" : "an infinite value") + ", which no format can store; repair or retrain the model: " + where);
  }

 private:
  std::mutex mutex_;
  bool found_ = false;
  float value_ = 0;
  std::uint64_t row_ = 0, col_ = 0;
};

void copy_row(const QuantizedView& from, std::uint64_t from_row, QuantizedTensor& to, std::uint64_t to_row) {
  const ConstRowPlanes in = from.row(from_row);
  const RowPlanes out = to.row(to_row);
  for (std::size_t p = 0; p < to.specs.size(); ++p)
    if (to.specs[p].row_bytes != 0) std::memcpy(out[p], in[p], to.specs[p].row_bytes);
}

}  // namespace

std::shared_ptr<const TensorGrid> prepare_tensor(const RowSource& source, const FormatPtr& format, const QuantizeRowsOptions& options,
                                                 ThreadPool& pool) {
  const QuantizedView& view = *source.view;
  if (view.format->name() == format->name()) return view.tensor_grid;
  if (!format->needs_prepare()) return nullptr;
  std::vector<float> weights(view.rows * view.cols);
  FirstDefect defect;
  const std::size_t grain = std::max<std::size_t>(1, kGrainElements / std::max<std::uint64_t>(1, view.cols));
  pool.parallel_for(view.rows, grain, [&](std::size_t first, std::size_t last, std::size_t) {
    for (std::size_t row = first; row < last; ++row) {
      const std::span<float> out(weights.data() + row * view.cols, view.cols);
      view.decode_row(source_row(source, row), out);
      if (const std::size_t at = find_unfinite(out); at != out.size()) defect.report(row, at, out[at]);
    }
  });
  defect.raise_if_any(source);
  const FitOptions fit = options.method != nullptr ? options.method->fit : FitOptions{};
  return with_kernels(format, options.isa)->prepare(weights, view.rows, view.cols, options.importance, fit);
}

QuantizedTensor quantize_rows(const RowSource& source, std::uint64_t begin, std::uint64_t end, const FormatPtr& format,
                              const QuantizeRowsOptions& options, ThreadPool& pool) {
  const QuantizedView& view = *source.view;
  QuantizedTensor band(format, end - begin, view.cols);
  band.tensor_grid = options.tensor_grid;
  // Planes that belong to the whole tensor are as long as the tensor makes them, not the band.
  const std::vector<PlaneSpec> of_tensor = format->planes(view.rows, view.cols);
  for (std::size_t p = 0; p < band.specs.size(); ++p)
    if (band.specs[p].row_bytes == 0) {
      band.specs[p] = of_tensor[p];
      band.planes[p].resize(of_tensor[p].bytes);
    }
  const bool same_format = view.format->name() == format->name();
  const bool is_raw = format->info().kind == FormatKind::raw;
  const bool is_f16 = format->name() == "f16";
  const FormatPtr reading = with_kernels(view.format, options.isa), writing = with_kernels(format, options.isa);
  // Tensor-wide planes lie at the same place for every row.
  if (band.rows > 0 && (options.tensor_grid || same_format))
    for (std::size_t p = 0; p < band.specs.size(); ++p)
      if (band.specs[p].row_bytes == 0) {
        if (same_format)
          std::memcpy(band.planes[p].data(), view.planes[p].data(), band.planes[p].size());
        else
          format->pack_tensor(options.tensor_grid.get(), band.row(0));
      }
  FirstDefect defect;
  const std::size_t grain = std::max<std::size_t>(1, kGrainElements / std::max<std::uint64_t>(1, view.cols));
  std::vector<std::vector<float>> scratch(pool.num_threads());
  pool.parallel_for(end - begin, grain, [&](std::size_t first, std::size_t last, std::size_t worker) {
    std::vector<float>& values = scratch[worker];
    values.resize(view.cols);
    for (std::size_t i = first; i < last; ++i) {
      const std::uint64_t row_index = begin + i;
      const std::uint64_t from = source_row(source, row_index);
      if (same_format) {
        copy_row(view, from, band, i);
        if (!is_raw) continue;  // judged by the format's own rules, not as numbers
        if (find_unfinite(format->name(), view.row(from)[0], view.cols) == view.cols) continue;
      }
      reading->decode_row(view.row(from), view.tensor_grid.get(), from, values);
      if (const std::size_t at = find_unfinite(values); at != values.size()) {
        defect.report(row_index, at, values[at]);
        return;
      }
      if (is_f16)
        if (const std::size_t at = find_beyond_f16(values); at != values.size()) {
          defect.report(row_index, at, values[at]);
          return;
        }
      const RowPlanes out = band.row(i);
      if (is_raw || !options.method) {
        writing->encode_row(values, {}, options.tensor_grid.get(), row_index, {}, out);
      } else {
        const RoundInput input{values, options.importance, options.tensor_grid.get(), row_index, options.method->fit};
        options.method->rounder->encode(*writing, input, out);
      }
    }
  });
  defect.raise_if_any(source);
  return band;
}

}  // namespace nibble
