// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/round_up.h"
#include "format/outlier_format.h"
#include "format/quantized_tensor.h"
#include "format/row_tiles.h"
#include "format/sparse_format.h"
#include "nibble/error.h"
#include "pipeline/tell/explain_parts.h"

namespace nibble {
namespace {

constexpr std::size_t kMostNumbers = 4096;
constexpr std::size_t kLargestFilled = 1024;  // longer groups are not filled up

// The numbers a grid is chosen for: the given ones, the ends of the range, and what fills the span.
struct FittedSpan {
  std::vector<float> values;
  std::string description;
  float low = 0, high = 0;
};

// i in base two, mirrored at the point: 1/2, 1/4, 3/4, 1/8, ... Any run of it is spread evenly (van der Corput 1935).
float evenly_spread(std::size_t i) {
  double result = 0, digit = 0.5;
  for (++i; i > 0; i /= 2, digit /= 2) result += static_cast<double>(i % 2) * digit;
  return static_cast<float>(result);
}

void judge(const ExplainRequest& request) {
  if (find_row_tiles(*request.format) != nullptr)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{0} codes {1} rows and {2} columns together, so that no number has a code of its own; "
                            "'nibble explain trellis' says how it works",
                            request.format->name(), request.format->info().row_unit, request.format->info().unit));
  const auto all = [&](const char* what, std::span<const float> numbers) {
    if (first_not_finite(numbers))
      throw Error(ErrorKind::invalid_argument,
                  std::string("no format stores NaN or infinity; leave it out of the ") + what);
  };
  all("numbers", request.numbers);
  if (request.range) {
    all("range", std::array{request.range->first, request.range->second});
    if (!(request.range->first < request.range->second))
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("a range is its lower end, then its upper end, as in -2.5,3: {},{}",
                              explained_number(request.range->first), explained_number(request.range->second)));
  }
}

std::vector<float> numbers_of(const ExplainRequest& request) {
  if (!request.numbers.empty()) return request.numbers;
  const auto [low, high] = request.range.value_or(std::pair{-1.0f, 1.0f});
  std::vector<float> numbers;
  for (const float share : {0.0f, 0.25f, 0.5f, 0.6f, 0.75f, 1.0f}) numbers.push_back(low + share * (high - low));
  return numbers;
}

FittedSpan make_span(const ExplainRequest& request, std::span<const float> numbers) {
  const FormatInfo& info = request.format->info();
  FittedSpan span;
  const auto [smallest, largest] = std::ranges::minmax(numbers);
  span.low = request.range ? request.range->first : smallest;
  span.high = request.range ? request.range->second : largest;
  if (holds_zero(*request.format)) {
    span.low = std::min(0.0f, span.low);
    span.high = std::max(0.0f, span.high);
  }
  for (const float x : numbers) span.values.push_back(std::clamp(x, span.low, span.high));
  if (info.kind == FormatKind::raw) return span;
  span.description = "the given numbers";
  if (request.range) {
    span.values.insert(span.values.end(), {request.range->first, request.range->second});
    span.description = "the ends of the range and the given numbers";
  }
  const std::size_t room = info.span == 0 ? kMostNumbers : info.span;
  if (span.values.size() > room)
    throw Error(ErrorKind::invalid_argument, fmt::format("{} numbers share a grid in {}; give at most {}: {}",
                                                         info.span == 0 ? kMostNumbers : info.span, info.name,
                                                         room - (request.range ? 2 : 0), numbers.size()));
  // Rows that are a group, too, have whole units.
  const std::size_t wanted = info.span == 0 ? round_up(span.values.size(), info.row_multiple) : info.span;
  if (wanted > span.values.size() && (info.span == 0 || wanted <= kLargestFilled)) {
    const std::size_t missing = wanted - span.values.size();
    for (std::size_t i = 0; i < missing; ++i)
      span.values.push_back(span.low + evenly_spread(i) * (span.high - span.low));
    span.description += fmt::format(", and {} numbers spread evenly over the range: {} share a grid", missing, wanted);
  }
  return span;
}

// One span as the format itself encodes it.
struct EncodedSpan {
  std::vector<std::byte> grid;
  std::vector<Code> codes;
};

EncodedSpan encode(const ExplainRequest& request, const FittedSpan& span) {
  const Format& format = *request.format;
  const std::size_t columns = span.values.size();
  QuantizedTensor tensor(request.format, 1, columns);
  const std::shared_ptr<const TensorGrid> tensor_grid = format.prepare(span.values, 1, columns, {}, request.fit);
  format.pack_tensor(tensor_grid.get(), tensor.row(0));
  format.encode_row(span.values, {}, tensor_grid.get(), 0, request.fit, tensor.row(0));
  const QuantizedView view = tensor.view();
  const auto read_grid = format.unpack_tensor(view.row(0), 1, columns);
  EncodedSpan encoded{std::vector<std::byte>(format.grid_bytes()), std::vector<Code>(columns)};
  if (format.info().kind == FormatKind::raw) {
    for (std::size_t i = 0; i < columns; ++i)
      format.unpack(view.row(0), i, 1, nullptr, 0, encoded.grid.data(), &encoded.codes[i]);
  } else {
    format.unpack(view.row(0), 0, columns, read_grid.get(), 0, encoded.grid.data(), encoded.codes.data());
  }
  return encoded;
}

// The unit that holds this column, with numbers outside the range as they were given.
Code code_of(const Format& format, const EncodedSpan& encoded, const FittedSpan& span, std::span<const float> numbers,
             std::size_t column) {
  const std::size_t unit = format.info().unit, first = column / unit * unit;
  if (format.info().kind == FormatKind::raw) return encoded.codes[column];
  bool is_outside = false;
  std::vector<float> target(span.values.begin() + static_cast<std::ptrdiff_t>(first),
                            span.values.begin() + static_cast<std::ptrdiff_t>(first + unit));
  for (std::size_t i = first; i < std::min(first + unit, numbers.size()); ++i) {
    is_outside = is_outside || numbers[i] != span.values[i];
    target[i - first] = numbers[i];
  }
  return is_outside ? format.nearest(encoded.grid.data(), first, target.data(), nullptr) : encoded.codes[column / unit];
}

std::vector<float> points_at(const Format& format, const std::byte* grid) {
  std::vector<float> points;
  if (format.info().unit != 1 || format.num_codes() > 16) return points;
  for (Code code = 0; code < format.num_codes(); ++code) {
    float point;
    format.value(grid, 0, code, &point);
    if (std::isfinite(point)) points.push_back(point);
  }
  std::ranges::sort(points);
  return points;
}

ExplainedNumber explain_number(const Format& format, const std::byte* grid, std::size_t column, Code code,
                               float given) {
  const std::size_t unit = format.info().unit;
  std::vector<float> values(unit);
  format.value(grid, column / unit * unit, code, values.data());
  ExplainedNumber number;
  number.given = given;
  number.decoded = values[column % unit] + 0.0f;  // no negative zero
  number.error = static_cast<double>(number.decoded) - static_cast<double>(given);
  if (const SparseFormat* const sparse = find_sparse_format(format); sparse != nullptr && code == kDroppedCode) {
    number.how =
        sparse->pattern().percent == 0 ? "one of the two of four that are left out" : "one of those that are left out";
    return number;
  }
  number.code = static_cast<std::int64_t>(code) + format.info().first_code;
  number.how = explain_code(format, grid, column, number);
  return number;
}

}  // namespace

Explanation explain_format(const ExplainRequest& request) {
  judge(request);
  const Format& format = *request.format;
  const FormatInfo& info = format.info();
  const std::vector<float> numbers = numbers_of(request);
  const FittedSpan span = make_span(request, numbers);
  const EncodedSpan encoded = encode(request, span);
  const std::byte* const grid = encoded.grid.data();

  Explanation explanation;
  explanation.format = info.name;
  explanation.description = info.description;
  if (find_outlier_format(format) != nullptr) explanation.description += ", which are left out here";
  explanation.bits_per_weight = info.bits_per_weight;
  explanation.span = info.span;
  explanation.unit = info.unit;
  explanation.low = span.low;
  explanation.high = span.high;
  explanation.fitted_on = span.description;
  if (info.kind != FormatKind::raw) {
    explanation.steps = explain_grid(format, grid, span.low, span.high, request.fit);
    explanation.rule = explain_rule(format, grid);
    explanation.points = points_at(format, grid);
  }
  for (std::size_t i = 0; i < numbers.size(); ++i)
    explanation.numbers.push_back(
        explain_number(format, grid, i, code_of(format, encoded, span, numbers, i), numbers[i]));
  explanation.zero_points = explain_zero_points(format, grid, numbers);
  return explanation;
}

}  // namespace nibble
