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
  if (size.rows % layout.row_multiple != 0) return false;
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

const PlanarSpec* planar_spec(const PlannedTensor& matrix) { return find_planar_spec(*matrix.format); }

// Layouts do not say whether scales were sought with either sign.
std::string LayerWriter::reads_as(const PlannedTensor& matrix) const {
  const PlanarSpec* const given = planar_spec(matrix);
  if (given == nullptr || !given->is_signed) return matrix.format->name();
  PlanarSpec spec = *given;
  spec.is_signed = false;
  return planar_name(spec);
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
    return fmt::format(
        "codes of all inputs{} fill whole words of 32 bits in {}, and '{}' has {} inputs and {} outputs; "
        "leave it out (--exclude)",
        layout.row_multiple > 1 ? ", and of all outputs," : "", who, matrix.name, size.cols, size.rows);
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

bool has_order(const PlannedTensor& matrix) { return matrix.parts && !matrix.parts->input_order.empty(); }

std::vector<LayerClass> classes_of(const LayerPlan& plan) {
  std::vector<LayerClass> classes;
  for (const PlannedTensor& matrix : plan.coded) {
    const auto is_alike = [&](const LayerClass& one) {
      return one.format == matrix.format->name() && one.is_ordered == has_order(matrix);
    };
    auto own = std::ranges::find_if(classes, is_alike);
    if (own == classes.end()) own = classes.insert(classes.end(), {matrix.format->name(), has_order(matrix), {}});
    own->matrices.push_back(&matrix);
  }
  std::ranges::stable_sort(classes, std::ranges::greater(), numbers_of);
  return classes;
}

std::string joined_module(std::string_view module) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kJoined = {{{".q_proj", ".qkv_proj"},
                                                                                     {".k_proj", ".qkv_proj"},
                                                                                     {".v_proj", ".qkv_proj"},
                                                                                     {".gate_proj", ".gate_up_proj"},
                                                                                     {".up_proj", ".gate_up_proj"}}};
  for (const auto& [own, joined] : kJoined)
    if (module.ends_with(own)) return std::string(module.substr(0, module.size() - own.size())) + std::string(joined);
  return {};
}

bool has_vllm_group(const PlanarSpec& spec) {
  return spec.points != PlanarPoints::integer || spec.grain != PlanarGrain::group || spec.group == 32 ||
         spec.group == 64 || spec.group == 128;
}

namespace {

// Where modules that vLLM joins are stored in different ways.
std::string split_note(const LayerPlan& plan) {
  std::map<std::string, std::string> formats;  // of joined modules
  const auto note = [&](std::string_view module, const std::string& format) {
    const std::string joined = joined_module(module);
    const bool is_split = !joined.empty() && formats.emplace(joined, format).first->second != format;
    return is_split
               ? "vLLM joins q, k and v, and gate and up, and loads none that are stored in different ways: " + joined
               : std::string();
  };
  for (const PlannedTensor& matrix : plan.coded)
    if (std::string text = note(module_of(matrix.name), matrix.format->name()); !text.empty()) return text;
  for (const std::string& module : plan.plain)
    if (std::string text = note(module, ""); !text.empty()) return text;
  return {};
}

// Where groups have sizes that vLLM has no kernels of.
std::string group_note(const LayerPlan& plan) {
  for (const PlannedTensor& matrix : plan.coded)
    if (const PlanarSpec* const spec = planar_spec(matrix); spec != nullptr && !has_vllm_group(*spec))
      return fmt::format("vLLM has kernels for groups of 32, 64 and 128, and none for {}", matrix.format->name());
  return {};
}

// Where inputs have orders of their own.
std::string order_note(const LayerPlan& plan) {
  return std::ranges::any_of(plan.coded, has_order)
             ? "inputs have orders of their own (act-order), which transformers reads and vLLM 0.32 refuses"
             : "";
}

}  // namespace

std::vector<std::string> LayerWriter::vllm_obstacles(const LayerPlan& plan) const {
  std::vector<std::string> obstacles = {split_note(plan), group_note(plan), order_note(plan)};
  std::erase(obstacles, "");
  return obstacles;
}

}  // namespace nibble
