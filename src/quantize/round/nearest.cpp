// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/nearest.h"

namespace nibble {
namespace {

class NearestRounder final : public Rounder {
 public:
  std::string_view name() const noexcept override { return "nearest"; }
  void encode(const Format& format, const RoundInput& input, const RowPlanes& out) const override {
    format.encode_row(input.values, input.importance, input.tensor_grid, input.row, input.fit, out);
  }
};

}  // namespace

std::shared_ptr<const Rounder> make_nearest_rounder() { return std::make_shared<NearestRounder>(); }

}  // namespace nibble
