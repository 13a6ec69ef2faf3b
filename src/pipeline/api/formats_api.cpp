// SPDX-License-Identifier: Apache-2.0
#include "nibble/formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nibble/error.h"
#include "pipeline/api/model_state.h"
#include "quantize/fit/fit_rule.h"
#include "quantize/quantize_linear.h"
#include "quantize/recipe.h"

namespace nibble {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::invalid_argument, message); }

// Untrusted numbers: their product may not fit.
void require_size(std::size_t given, std::uint64_t rows, std::uint64_t cols) {
  if (rows == 0 || cols == 0 || given / cols != rows || given % cols != 0)
    refuse(fmt::format("a matrix of {} rows and {} columns has as many values; given: {}", rows, cols, given));
}

Method method_of(const EncodeMatrixRequest& request) {
  Method method = find_method(request.method);
  if (!request.fit.empty()) method.fit = find_fit(request.fit);
  if (method.learning != LayerLearning::none)
    refuse(
        fmt::format("the method {} learns from a layer's output, which a matrix alone does not have; name another, "
                    "or quantize a model",
                    method.name));
  if (method.needs() == Needs::second_moment)
    refuse(
        fmt::format("the method {} looks at second moments, which a matrix alone does not have; name another, or "
                    "quantize a model",
                    method.name));
  if (method.needs() == Needs::mean_square && request.importance.empty())
    refuse(fmt::format("the method {} looks at the mean squares of the inputs; give importance", method.name));
  return method;
}

SiteStatistics inputs_of(std::span<const float> importance, std::uint64_t cols) {
  SiteStatistics inputs;
  inputs.site = "matrix_in";
  inputs.count = cols;
  inputs.mean_square.assign(importance.begin(), importance.end());
  if (importance.empty()) return inputs;
  if (importance.size() != cols)
    refuse(fmt::format("importance has a number for each of the {} columns; given: {}", cols, importance.size()));
  if (!std::ranges::all_of(importance, [](float x) { return std::isfinite(x) && x >= 0; }))
    refuse("importance is made of mean squares: finite numbers of 0 or more");
  return inputs;
}

// By their names, in the format's order. An empty type or shape says nothing.
std::vector<std::span<const std::byte>> planes_of(const EncodedMatrix& matrix, const Format& format) {
  std::vector<std::span<const std::byte>> planes;
  const std::vector<PlaneSpec> specs = format.planes(matrix.rows, matrix.cols);
  if (matrix.planes.size() != specs.size())
    throw Error(ErrorKind::corrupt, fmt::format("the matrix: {} is stored in {} planes, given: {}", format.name(),
                                                specs.size(), matrix.planes.size()));
  for (const PlaneSpec& spec : specs) {
    const auto plane = std::ranges::find(matrix.planes, spec.suffix, &EncodedPlane::name);
    if (plane == matrix.planes.end())
      refuse(fmt::format("the matrix: there is no plane '{}', which {} is stored in", spec.suffix, format.name()));
    if (!plane->type.empty() && plane->type != dtype_name(spec.dtype))
      refuse(fmt::format("the matrix: the plane '{}' of {} is of {}; given: {}", spec.suffix, format.name(),
                         dtype_name(spec.dtype), plane->type));
    if (!plane->shape.empty() && plane->shape != spec.shape)
      refuse(fmt::format("the matrix: the plane '{}' of {} has the shape {}; given: {}", spec.suffix, format.name(),
                         shape_text(spec.shape), shape_text(plane->shape)));
    planes.emplace_back(plane->bytes);
  }
  return planes;
}

}  // namespace

std::vector<FormatDescription> list_format_descriptions() {
  std::vector<FormatDescription> result;
  for (const FormatPtr& format : list_formats()) {
    const FormatInfo& info = format->info();
    const FormatGroup group = info.kind == FormatKind::raw     ? FormatGroup::raw
                              : info.kind == FormatKind::block ? FormatGroup::block
                                                               : FormatGroup::planar;
    result.push_back({info.name, info.description, group, info.bits_per_weight, info.row_multiple});
  }
  for (const MixInfo& mix : list_mixes()) {
    const bool shares_name =
        std::any_of(result.begin(), result.end(), [&](const FormatDescription& f) { return f.name == mix.name; });
    result.push_back(
        {(shares_name ? "mix:" : "") + std::string(mix.name), std::string(mix.description), FormatGroup::mix});
  }
  return result;
}

EncodedMatrix encode_matrix(std::span<const float> weights, std::uint64_t rows, std::uint64_t cols,
                            const EncodeMatrixRequest& request) {
  require_size(weights.size(), rows, cols);
  const SiteStatistics inputs = inputs_of(request.importance, cols);
  LinearTask task;
  task.weights.values = make_view(find_raw_format(DType::f32), rows, cols, {std::as_bytes(weights)}, "the matrix");
  task.weights.name = "the matrix";
  task.weights.file = "memory";
  task.format = find_format(request.format);
  task.method = method_of(request);
  if (!request.importance.empty()) task.moments = {{.rows = {0, rows}, .inputs = &inputs}};
  Machine machine = api::make_machine(request.machine);
  QuantizedTensor made = quantize_linear(task, machine);
  EncodedMatrix result{made.format->name(), rows, cols, {}};
  for (std::size_t i = 0; i < made.planes.size(); ++i)
    result.planes.push_back({made.specs[i].suffix, std::string(dtype_name(made.specs[i].dtype)), made.specs[i].shape,
                             std::move(made.planes[i])});
  return result;
}

std::vector<float> decode_matrix(const EncodedMatrix& matrix) {
  const FormatPtr format = find_format(matrix.format);
  if (matrix.rows == 0 || matrix.cols == 0)
    refuse(fmt::format("a matrix has at least one row and one column; given: {} x {}", matrix.rows, matrix.cols));
  const QuantizedView view = make_view(format, matrix.rows, matrix.cols, planes_of(matrix, *format), "the matrix");
  if (const auto defect = format->find_tensor_defect(view.tensor_grid.get()))
    throw Error(ErrorKind::corrupt, "the matrix: " + *defect);
  for (std::uint64_t row = 0; row < matrix.rows; ++row)
    if (const auto defect = format->find_defect(view.row(row), matrix.cols))
      throw Error(ErrorKind::corrupt, fmt::format("the matrix, row {}: {}", row, *defect));
  return view.decode();
}

RoundTripError round_trip_error(std::span<const float> weights, std::span<const float> stored) {
  if (weights.size() != stored.size() || weights.empty())
    refuse(fmt::format("what is compared has as many values, at least one: {} and {}", weights.size(), stored.size()));
  RoundTripError error;
  double differences = 0, squares = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double difference = static_cast<double>(stored[i]) - static_cast<double>(weights[i]);
    differences += difference * difference;
    squares += static_cast<double>(weights[i]) * static_cast<double>(weights[i]);
    error.largest = std::max(error.largest, std::abs(difference));
  }
  error.relative = differences == 0 ? 0 : differences / squares;
  error.rms = std::sqrt(differences / static_cast<double>(weights.size()));
  return error;
}

}  // namespace nibble
