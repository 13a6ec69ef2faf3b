// SPDX-License-Identifier: Apache-2.0
#include "pipeline/convert/places.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>

#include "format/planar/format.h"
#include "format/quantized_tensor.h"
#include "quantize/round/exact.h"
#include "quantize/round/nearest.h"

namespace nibble {
namespace {

// Formats of integers times a scale, some from an offset on, in which codes may find the same numbers.
constexpr std::array kGgufPlaces = {"q4_0", "mxfp4", "q4_1", "q5_0", "q5_1", "q8_0"};
constexpr std::array kDirectoryPlaces = {"int2:g32",      "int3:g32",      "int4:g32",      "mxfp4",
                                         "int5:g32",      "int6:g32",      "int8:g32",      "e2m1:g32:e8m0",
                                         "int4:g32:asym", "int4:g32:bias", "int5:g32:bias", "int8:g32:bias"};

// The same codes on the same groups with scales of another kind.
std::vector<std::string> relatives(const Format& own) {
  std::vector<std::string> names;
  const PlanarSpec* const given = find_planar_spec(own);
  if (given == nullptr) return names;
  const bool are_halves = given->points == PlanarPoints::half_integer;
  if ((given->points == PlanarPoints::integer || are_halves) && given->grain != PlanarGrain::block) {
    // Scales keep their signs where formats do not speak of them. Odd halves are whole numbers of half the scale, which
    // take a bit more.
    PlanarSpec whole = *given;
    whole.points = PlanarPoints::integer;
    whole.is_unsigned = whole.is_high = whole.is_signed = false;
    if (are_halves) ++whole.bits;
    const auto add = [&](auto&& change) {
      PlanarSpec spec = whole;
      change(spec);
      names.push_back(planar_name(spec));
    };
    add([](PlanarSpec&) {});
    const bool has_groups = given->grain == PlanarGrain::group;
    if (given->grain == PlanarGrain::row && given->bits == 8 && !given->is_asymmetric && !given->is_unsigned)
      add([](PlanarSpec& spec) { spec.scale = ScaleType::amax; });
    for (const unsigned bits : {4u, 8u})
      if (bits > whole.bits) add([&](PlanarSpec& spec) { spec.bits = bits; });
    if (given->has_bias)
      for (const bool is_asymmetric : {false, true})
        add([&](PlanarSpec& spec) {
          spec.has_bias = false;
          spec.is_asymmetric = is_asymmetric;
        });
    for (const ScaleType scale : {ScaleType::f16, ScaleType::f32}) {
      add([&](PlanarSpec& spec) { spec.scale = scale; });
      if (given->is_asymmetric && has_groups)
        add([](PlanarSpec& spec) {
          spec.is_asymmetric = false;
          spec.bits = 8;
        });
      if (!given->has_bias && has_groups)
        add([&](PlanarSpec& spec) {
          spec.is_asymmetric = false;
          spec.has_bias = true;
          spec.bits = given->bits;
          spec.scale = scale;
        });
    }
  } else if (given->points == PlanarPoints::nf4 || given->points == PlanarPoints::fp4) {
    PlanarSpec spec = *given;
    spec.scale = ScaleType::f32;
    names.push_back(planar_name(spec));
  }
  return names;
}

// What is tried of formats: one of each kind that people have.
constexpr std::array kFormats = {"q4_0",
                                 "q4_1",
                                 "q5_0",
                                 "q8_0",
                                 "q4_k",
                                 "q6_k",
                                 "iq4_nl",
                                 "mxfp4",
                                 "nvfp4",
                                 "int2:g64",
                                 "int2:g64:half",
                                 "int3:g128",
                                 "int3:g128:signed",
                                 "int3:g128:half",
                                 "int4:g128:half",
                                 "int4:g32",
                                 "int4:g128",
                                 "int4:g128:asym",
                                 "int4:row:f16",
                                 "int4:g64:bias",
                                 "int8:g32",
                                 "int8:g128",
                                 "int8:row",
                                 "int8:row:amax",
                                 "nf4:g64",
                                 "nf4:g64:f32",
                                 "nf4:g64:dq",
                                 "fp8:row",
                                 "fp8:block128x128",
                                 "e2m1:g32:e8m0",
                                 "trellis2:l8"};

constexpr std::uint64_t kRows = 256, kCols = 256;

// A matrix of the normal distribution in a format, without its parts.
QuantizedTensor random_matrix(const FormatPtr& format) {
  std::mt19937_64 random(11);
  std::vector<float> values(kRows * kCols);
  for (float& value : values) {  // a sum of 12 uniform numbers: the same everywhere
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(random() >> 11) * 0x1p-53;
    value = static_cast<float>(0.02 * sum);
  }
  QuantizedTensor matrix(format, kRows, kCols);
  const auto grid = format->prepare(values, kRows, kCols, {}, {});
  if (grid) format->pack_tensor(grid.get(), matrix.row(0));
  Machine machine(Isa::scalar, 1);
  make_nearest_rounder()->encode_band(*format, {values, {}, kRows, kCols, 0, grid.get(), {}}, matrix, machine);
  std::vector<std::span<const std::byte>> planes(matrix.planes.begin(), matrix.planes.end());
  matrix.tensor_grid = make_view(format, kRows, kCols, std::move(planes), "matrix").tensor_grid;
  return matrix;
}

bool holds(const Format& place, const std::vector<float>& values) {
  if (place.needs_prepare()) return false;
  QuantizedTensor made(find_format(place.name()), kRows, kCols);
  std::vector<float> back(kCols);
  for (std::uint64_t row = 0; row < kRows; ++row)
    if (!encode_exactly(place, std::span(values).subspan(row * kCols, kCols), row, made.row(row), back)) return false;
  return true;
}

}  // namespace

std::vector<FormatPtr> places_in(const Container& container, const FormatPtr& own,
                                 const std::function<bool(const FormatPtr&)>& is_refused) {
  std::vector<FormatPtr> places;
  const auto add = [&](const std::string& name) {
    FormatPtr format = find_format(name);
    const auto has = [&](const FormatPtr& place) { return place->name() == format->name(); };
    if (std::ranges::none_of(places, has) && !is_refused(format)) places.push_back(std::move(format));
  };
  add(own->name());
  for (const std::string& name : relatives(*own)) add(name);
  if (container.naming() == Spelling::gguf)
    for (const char* const name : kGgufPlaces) add(name);
  else
    for (const char* const name : kDirectoryPlaces) add(name);
  return places;
}

Exactness find_place(const Container& container, const FormatPtr& own, TensorRole role, const std::string& name,
                     std::uint64_t rows, std::uint64_t cols) {
  const auto refusal = [&](const FormatPtr& format) {
    if (cols % format->info().row_multiple != 0)
      return fmt::format("{} does not divide rows of {}", format->name(), cols);
    return container.refusal({name, {rows, cols}, format}, role);
  };
  const auto places = places_in(container, own, [&](const FormatPtr& format) { return !refusal(format).empty(); });
  Exactness one{own->name(), std::string(container.name())};
  std::vector<float> values;
  for (const FormatPtr& place : places) {
    if (place->name() != own->name() && values.empty()) values = random_matrix(own).view().decode();
    if (place->name() != own->name() && !holds(*place, values)) continue;
    one.place = place->name();
    return one;
  }
  one.obstacle = places.empty() ? refusal(own) : "its scales and codes have no such form there";
  return one;
}

std::vector<Exactness> measure_exactness() {
  std::vector<Exactness> all;
  for (const char* const name : kFormats)
    for (const Container* const container : list_containers())
      all.push_back(find_place(*container, find_format(name), TensorRole::linear, "model.layers.0.mlp.up_proj.weight",
                               kRows, kCols));
  return all;
}

std::string exactness_markdown(const std::vector<Exactness>& all) {
  std::string text = "| format |", line = "|---|";
  for (const Container* const container : list_containers()) {
    text += fmt::format(" {} |", container->name());
    line += "---|";
  }
  text += "\n" + line;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i == 0 || all[i].format != all[i - 1].format) text += fmt::format("\n| `{}` |", all[i].format);
    text += all[i].place.empty()            ? " no |"
            : all[i].place == all[i].format ? " yes |"
                                            : fmt::format(" as `{}` |", all[i].place);
  }
  return text + "\n";
}

}  // namespace nibble
