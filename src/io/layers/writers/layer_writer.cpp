// SPDX-License-Identifier: Apache-2.0
#include "io/layers/writers/layer_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "format/planar/format.h"
#include "io/checkpoint.h"

namespace nibble {
namespace {

bool fits_words(const MatrixSize& size, unsigned bits, const IntegerLayout& layout) {
  if (size.rows * bits % (static_cast<std::uint64_t>(layout.row_multiple) * bits) != 0) return false;
  return !layout.fills_words ||
         (size.cols * bits % 32 == 0 && (layout.row_multiple == 1 || size.rows * bits % 32 == 0));
}

std::uint64_t numbers_of(const LayerClass& one) {
  std::uint64_t numbers = 0;
  for (const PlannedTensor* const matrix : one.matrices) {
    const MatrixSize size = matrix_size(matrix->shape);
    numbers += size.rows * size.cols;
  }
  return numbers;
}

}  // namespace

std::string_view module_of(std::string_view weight) {
  constexpr std::string_view kEnding = ".weight";
  return weight.ends_with(kEnding) ? weight.substr(0, weight.size() - kEnding.size()) : weight;
}

bool is_expert(const PlannedTensor& matrix) { return matrix.name.find(".experts.") != std::string::npos; }

const PlanarSpec* planar_spec(const PlannedTensor& matrix) {
  const auto* const planar = dynamic_cast<const PlanarFormat*>(matrix.format.get());
  return planar == nullptr ? nullptr : &planar->spec();
}

std::string refuse_integers(const PlannedTensor& matrix, const IntegerLayout& layout, std::string_view who) {
  const PlanarSpec* const spec = planar_spec(matrix);
  const bool are_integers =
      spec != nullptr && spec->points == PlanarPoints::integer && !spec->has_bias && !spec->is_high;
  if (!are_integers || (spec->grain != PlanarGrain::group && spec->grain != PlanarGrain::row))
    return fmt::format("{} holds integers with a scale for each group or row", who);
  if (std::ranges::find(layout.bits, spec->bits) == layout.bits.end())
    return fmt::format("{} holds integers of {} bits", who, fmt::join(layout.bits, ", "));
  if (spec->is_asymmetric && !layout.takes_asymmetric) return fmt::format("{} holds symmetric integers alone", who);
  if (spec->grain == PlanarGrain::row && !layout.takes_rows) return fmt::format("{} has groups alone", who);
  if (spec->scale != ScaleType::f16 && spec->scale != ScaleType::bf16 &&
      !(spec->scale == ScaleType::f32 && layout.takes_f32))
    return fmt::format("{} has scales of {}", who, layout.takes_f32 ? "f16, bf16 or f32" : "f16 or bf16");
  const MatrixSize size = matrix_size(matrix.shape);
  if (spec->grain == PlanarGrain::group && size.cols % spec->group != 0)
    return fmt::format("groups divide the inputs in {}, of which '{}' has {}", who, matrix.name, size.cols);
  if (!fits_words(size, spec->bits, layout))
    return fmt::format("codes fill whole words in {}; '{}' has {} inputs and {} outputs", who, matrix.name, size.cols,
                       size.rows);
  return {};
}

std::string nearest_integers(const PlannedTensor& matrix, const IntegerLayout& layout) {
  const MatrixSize size = matrix_size(matrix.shape);
  const PlanarSpec* const given = planar_spec(matrix);
  const bool are_integers = given != nullptr && given->points == PlanarPoints::integer;
  const double wanted = are_integers ? given->bits : matrix.format->info().bits_per_weight - 0.25;
  std::optional<unsigned> best;
  for (const unsigned bits : layout.bits)
    if (fits_words(size, bits, layout) && (!best || std::fabs(bits - wanted) < std::fabs(*best - wanted))) best = bits;
  if (!best) return {};
  PlanarSpec spec;
  spec.bits = *best;
  spec.is_asymmetric = are_integers && given->is_asymmetric && layout.takes_asymmetric;
  std::vector<std::uint32_t> groups = {128, 64, 32};
  if (given != nullptr && given->grain == PlanarGrain::group) groups.insert(groups.begin(), given->group);
  if (!(given != nullptr && given->grain == PlanarGrain::row && layout.takes_rows))
    for (const std::uint32_t group : groups)
      if (size.cols % group == 0) {
        spec.group = group;
        return planar_name(spec);
      }
  if (!layout.takes_rows) return {};
  spec.grain = PlanarGrain::row;
  spec.group = 0;
  return planar_name(spec);
}

std::vector<LayerClass> classes_of(const LayerPlan& plan) {
  std::vector<LayerClass> classes;
  for (const PlannedTensor& matrix : plan.coded) {
    auto own = std::ranges::find(classes, matrix.format->name(), &LayerClass::format);
    if (own == classes.end()) own = classes.insert(classes.end(), {matrix.format->name(), {}});
    own->matrices.push_back(&matrix);
  }
  std::ranges::stable_sort(classes, std::ranges::greater(), numbers_of);
  return classes;
}

}  // namespace nibble
