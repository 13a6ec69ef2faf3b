// SPDX-License-Identifier: Apache-2.0
#include "train/estimator/code_points.h"

#include <cmath>
#include <cstddef>

#include "format/planar/format.h"
#include "format/trainable_grid.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::string obstacle(const Format& format) {
  const TrainableGrid* const free = find_trainable_grid(format);
  if (free == nullptr || format.info().unit != 1) return "its values are not codes times a scale";
  if (free->num_parameters() != 1) return "its grids have more than a scale";
  const PlanarSpec* const planar = find_planar_spec(format);
  if (planar == nullptr) return {};
  if (planar->grain == PlanarGrain::block) return "blocks of rows and columns share its scales";
  if (planar->scale == ScaleType::s6 || planar->scale == ScaleType::s8 || planar->scale == ScaleType::dq)
    return "its scales are counted in others";
  return {};
}

}  // namespace

CodePoints code_points(const Format& format) {
  const PlanarSpec* const planar = find_planar_spec(format);
  if (planar != nullptr && planar->points == PlanarPoints::table && planar->bits == 2 &&
      planar->grain != PlanarGrain::tensor && planar->grain != PlanarGrain::block)
    return {};
  if (const std::string why = obstacle(format); !why.empty())
    throw Error(ErrorKind::invalid_argument,
                "weights are not trained in this format, " + why +
                    "; take symmetric integers, ternary or binary numbers, their blocks (q4_0, tq2_0), or "
                    "table2: " +
                    format.name(),
                "quantize");
  const TrainableGrid& free = *find_trainable_grid(format);
  const std::size_t columns = format.info().span == 0 ? 1 : format.info().span;
  // A grid of zeros everywhere but in its scale, in memory that suits any.
  std::vector<std::max_align_t> room(format.grid_bytes() / sizeof(std::max_align_t) + 1);
  auto* const grid = reinterpret_cast<std::byte*>(room.data());
  const std::vector<float> ones(columns, 1.0F);
  const std::unique_ptr<TensorGrid> shared =
      format.needs_prepare() ? format.prepare(ones, 1, columns, {}, {}) : nullptr;
  format.fit(ones, {}, shared.get(), 0, {}, grid);
  const float one = 1;
  std::vector<Code> codes(columns);
  std::vector<float> values(columns);
  CodePoints found;
  for (Code code = 0; code < format.num_codes(); ++code) {
    std::ranges::fill(codes, code);
    free.values(grid, &one, codes.data(), columns, values.data());
    if (std::isfinite(values.front())) found.points.push_back(values.front());
  }
  std::ranges::sort(found.points);
  const auto repeated = std::ranges::unique(found.points);
  found.points.erase(repeated.begin(), repeated.end());
  constexpr std::size_t kByte = 256;  // kernels take bytes of either sign alike: from -127 on
  if (found.points.size() == kByte) found.points.erase(found.points.begin());
  found.step = found.points[1] - found.points[0];
  for (std::size_t i = 1; i < found.points.size(); ++i)
    if (found.points[i] - found.points[i - 1] != found.step) {
      found.step = 0;
      break;
    }
  return found;
}

}  // namespace nibble
