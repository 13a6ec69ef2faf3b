// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/rounder.h"

namespace nibble {

std::shared_ptr<const RoundPlan> Rounder::plan(const SiteStatistics&, const Format&, Machine&) const { return nullptr; }

void Rounder::encode_band(const Format& format, const RoundBand& band, QuantizedTensor& out, Machine& machine) const {
  machine.pool.parallel_for(band.rows, 4, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = begin; row < end; ++row)
      encode(format,
             {band.values.subspan(row * band.cols, band.cols), band.importance, band.tensor_grid, band.first_row + row,
              band.fit},
             out.row(row));
  });
}

}  // namespace nibble
