// SPDX-License-Identifier: Apache-2.0
//
// Weights whose codes have their inputs in another order.
#include <utility>
#include <vector>

#include "kernels/linear/changed_inputs.h"

namespace nibble {
namespace {

class OrderedPanels final : public ChangedInputs {
 public:
  OrderedPanels(std::unique_ptr<PackedWeights> weights, std::vector<std::uint32_t> order)
      : ChangedInputs(std::move(weights), " and an input order"), order_(std::move(order)) {}

  std::uint64_t resident_bytes() const noexcept override {
    return weights().resident_bytes() + order_.size() * sizeof(order_[0]);
  }
  void decode_row(std::uint64_t row, float* out) const override {
    std::vector<float> coded(order_.size());
    weights().decode_row(row, coded.data());
    for (std::size_t c = 0; c < coded.size(); ++c) out[order_[c]] = coded[c];
  }
  std::span<const std::uint32_t> input_order() const noexcept override { return order_; }

 private:
  void change(const float* x, float* changed) const override {
    for (std::size_t c = 0; c < order_.size(); ++c) changed[c] = x[order_[c]];
  }

  std::vector<std::uint32_t> order_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_ordered_panels(std::unique_ptr<PackedWeights> weights,
                                                   std::vector<std::uint32_t> order) {
  return std::make_unique<OrderedPanels>(std::move(weights), std::move(order));
}

}  // namespace nibble
