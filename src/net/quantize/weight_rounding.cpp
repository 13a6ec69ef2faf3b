// SPDX-License-Identifier: Apache-2.0
#include "net/quantize/weight_rounding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "format/planar/format.h"
#include "format/planar/planes.h"
#include "quantize/quantize_linear.h"

namespace nibble {

std::uint64_t rows_of_weight(const Operation& operation, const WeightUse& use) {
  const bool recurs = std::holds_alternative<Lstm>(operation) || std::holds_alternative<Gru>(operation);
  return recurs ? use.shape[0] * use.shape[1] : use.shape[0];
}

WeightCodes round_weights(std::span<const float> numbers, std::uint64_t rows, const WeightRounding& how,
                          const std::string& name, Machine& machine) {
  const unsigned bits = how.bits;
  const bool by_tensor = how.grain == WeightGrain::tensor;
  const std::uint64_t cols = numbers.size() / rows;
  QuantizedTensor plain(find_format("f32"), rows, cols);
  std::memcpy(plain.planes[0].data(), numbers.data(), numbers.size_bytes());
  std::vector<RowMoment> moments;
  for (std::size_t i = 0; i < how.inputs.size(); ++i)
    moments.push_back({{i * rows / how.inputs.size(), (i + 1) * rows / how.inputs.size()}, &how.inputs[i]});
  const LinearTask task{.weights = {.values = plain.view(), .name = name},
                        .format = find_format(fmt::format("int{}:{}", bits, by_tensor ? "tensor" : "row")),
                        .method = how.method,
                        .moments = moments};
  const QuantizedTensor rounded = quantize_linear(task, machine);
  WeightCodes made{bits, rows, std::vector<std::int8_t>(numbers.size()), std::vector<float>(rows), by_tensor};
  std::memcpy(made.scales.data(), rounded.planes[kScales].data(), (by_tensor ? 1 : rows) * sizeof(float));
  std::vector<float> least(how.least.begin(), how.least.end());
  if (by_tensor) {
    std::ranges::fill(made.scales, made.scales[0]);
    if (!least.empty()) std::ranges::fill(least, *std::ranges::max_element(how.least));
  }
  std::vector<float> row(cols);
  const auto high = static_cast<float>((1 << (bits - 1)) - 1), low = bits == 8 ? -high : -high - 1;
  for (std::uint64_t r = 0; r < rows; ++r) {
    const bool is_coarser = !least.empty() && least[r] > made.scales[r];
    if (is_coarser) made.scales[r] = least[r];
    if (made.scales[r] == 0) made.scales[r] = 1;  // of zeros alone; runtimes divide by it
    if (is_coarser)
      std::ranges::copy(numbers.subspan(r * cols, cols), row.begin());
    else
      rounded.view().decode_row(r, row);
    for (std::uint64_t c = 0; c < cols; ++c)
      made.codes[r * cols + c] =
          static_cast<std::int8_t>(std::min(std::max(std::nearbyint(row[c] / made.scales[r]), low), high));
  }
  return made;
}

WeightCodes codes_of(const QuantizedTensor& matrix) {
  const PlanarSpec& planar = *find_planar_spec(*matrix.format);
  // Points that lie between whole numbers are odd ones of half the scale.
  const bool is_odd = planar.points == PlanarPoints::half_integer;
  const unsigned bits = planar.points == PlanarPoints::ternary ? 2 : planar.bits + (is_odd ? 1 : 0);
  WeightCodes made{bits, matrix.rows, std::vector<std::int8_t>(matrix.rows * matrix.cols),
                   std::vector<float>(matrix.rows)};
  std::memcpy(made.scales.data(), matrix.planes[kScales].data(), matrix.rows * sizeof(float));
  std::vector<float> row(matrix.cols);
  for (std::uint64_t r = 0; r < matrix.rows; ++r) {
    if (made.scales[r] == 0) made.scales[r] = 1;
    if (is_odd) made.scales[r] /= 2;
    matrix.view().decode_row(r, row);
    for (std::uint64_t c = 0; c < matrix.cols; ++c)
      made.codes[r * matrix.cols + c] = static_cast<std::int8_t>(std::nearbyint(row[c] / made.scales[r]));
  }
  return made;
}

std::vector<float> numbers_of(const WeightCodes& codes) {
  std::vector<float> numbers(codes.codes.size());
  const std::uint64_t cols = codes.cols();
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<float>(codes.codes[i]) * codes.scales[i / cols];
  return numbers;
}

}  // namespace nibble
