// SPDX-License-Identifier: Apache-2.0
//
// The third stage of a method: which of the storable values stand for the weights. One file for each choice. A rounder
// works through the Format interface only, so that any rounder works in any format.
//
// Rows are independent of each other in all of them. Those that look at weights one by one implement encode(); those
// that weigh a column's error against the others' see a band of rows and what calibration knows: plan() once for a
// site, encode_band() for its Linears.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "format/format.h"
#include "format/quantized_tensor.h"
#include "kernels/machine.h"
#include "quantize/statistics.h"

namespace nibble {

class FeedbackFactor;

// What a stage must know of a Linear's inputs.
enum class Needs { nothing, mean_square, second_moment };

// What a rounder knows of one row.
struct RoundInput {
  std::span<const float> values;      // [cols], finite
  std::span<const float> importance;  // [cols] or empty
  const TensorGrid* tensor_grid = nullptr;
  std::uint64_t row = 0;  // within the tensor
  FitOptions fit{};
};

// What a rounder works out once for all Linears that share inputs and a format. Immutable.
class RoundPlan {
 public:
  virtual ~RoundPlan() = default;
  // Of the site's second moment, for whoever else needs it factored; null: none was needed.
  virtual const FeedbackFactor* factor() const { return nullptr; }
};

// Rows of one Linear.
struct RoundBand {
  std::span<const float> values;      // [rows, cols], finite
  std::span<const float> importance;  // [cols] or empty
  std::uint64_t rows = 0, cols = 0;
  std::uint64_t first_row = 0;  // within the tensor
  const TensorGrid* tensor_grid = nullptr;
  FitOptions fit{};
  const RoundPlan* plan = nullptr;
};

// Immutable, safe from many threads.
class Rounder {
 public:
  virtual ~Rounder() = default;
  virtual std::string_view name() const noexcept = 0;
  virtual Needs needs() const noexcept { return Needs::nothing; }
  // Writes the row's codes and grids into zeroed planes, each weight by itself.
  virtual void encode(const Format& format, const RoundInput& input, const RowPlanes& out) const = 0;

  virtual std::shared_ptr<const RoundPlan> plan(const SiteStatistics& site, const Format& format,
                                                Machine& machine) const;
  // Writes rows 0 .. band.rows - 1 of `out`. The same bytes for any number of threads. Without a plan: row by row.
  virtual void encode_band(const Format& format, const RoundBand& band, QuantizedTensor& out, Machine& machine) const;
};

}  // namespace nibble
