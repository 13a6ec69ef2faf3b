// SPDX-License-Identifier: Apache-2.0
//
// Weights whose codes have their inputs in another order: inputs are put into it once for each product, in front of
// what the weights' own form makes of them.
#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/linear/packed_weights.h"

namespace nibble {
namespace {

constexpr std::size_t kGrainElements = 16384;
constexpr std::size_t kLine = 64;

class OrderedPanels final : public PackedWeights {
 public:
  OrderedPanels(std::unique_ptr<PackedWeights> weights, std::vector<std::uint32_t> order)
      : PackedWeights(weights->rows(), weights->cols(), weights->name() + " and an input order"),
        weights_(std::move(weights)),
        order_(std::move(order)) {}

  Arithmetic arithmetic() const noexcept override { return weights_->arithmetic(); }
  std::uint64_t resident_bytes() const noexcept override {
    return weights_->resident_bytes() + order_.size() * sizeof(order_[0]);
  }
  void decode_row(std::uint64_t row, float* out) const override {
    std::vector<float> coded(order_.size());
    weights_->decode_row(row, coded.data());
    for (std::size_t c = 0; c < coded.size(); ++c) out[order_[c]] = coded[c];
  }

  std::uint64_t preparation() const noexcept override { return weights_->preparation(); }
  std::uint64_t input_grid() const noexcept override { return weights_->input_grid(); }
  std::span<const std::uint32_t> input_order() const noexcept override { return order_; }
  std::size_t shared_bytes(std::size_t tokens) const noexcept override {
    return ordered_bytes(tokens) + weights_->shared_bytes(tokens);
  }
  std::size_t worker_bytes() const noexcept override { return weights_->worker_bytes(); }
  void prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const override {
    float* const ordered = reinterpret_cast<float*>(shared);
    const std::size_t cols = order_.size();
    pool.parallel_for(tokens, std::max<std::size_t>(1, kGrainElements / std::max<std::size_t>(1, cols)),
                      [&](std::size_t begin, std::size_t end, std::size_t) {
                        for (std::size_t t = begin; t < end; ++t)
                          for (std::size_t c = 0; c < cols; ++c) ordered[t * cols + c] = x[t * cols + order_[c]];
                      });
    weights_->prepare(ordered, tokens, pool, shared + ordered_bytes(tokens));
  }
  void multiply_panel(std::size_t panel, const float*, std::size_t tokens, float* y, std::byte* shared,
                      std::byte* worker) const override {
    weights_->multiply_panel(panel, reinterpret_cast<const float*>(shared), tokens, y, shared + ordered_bytes(tokens),
                             worker);
  }

 private:
  std::size_t ordered_bytes(std::size_t tokens) const noexcept {
    return (tokens * order_.size() * sizeof(float) + kLine - 1) / kLine * kLine;
  }

  std::unique_ptr<PackedWeights> weights_;
  std::vector<std::uint32_t> order_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_ordered_panels(std::unique_ptr<PackedWeights> weights,
                                                   std::vector<std::uint32_t> order) {
  return std::make_unique<OrderedPanels>(std::move(weights), std::move(order));
}

}  // namespace nibble
