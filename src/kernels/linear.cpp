// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear.h"

#include <cassert>
#include <new>

#include "kernels/packed_weights.h"
#include "nibble/error.h"

namespace nibble {

void KernelScratch::Free::operator()(std::byte* p) const noexcept { ::operator delete[](p, std::align_val_t{64}); }

std::byte* KernelScratch::reserve(std::size_t bytes) {
  if (bytes > size_) {
    data_.reset();
    size_ = 0;
    data_.reset(static_cast<std::byte*>(::operator new[](bytes, std::align_val_t{64})));
    size_ = bytes;
  }
  return data_.get();
}

struct PackedLinear::State {
  std::unique_ptr<PackedWeights> weights;
};

PackedLinear::PackedLinear() = default;
PackedLinear::PackedLinear(PackedLinear&&) noexcept = default;
PackedLinear& PackedLinear::operator=(PackedLinear&&) noexcept = default;
PackedLinear::~PackedLinear() = default;

namespace {

std::unique_ptr<PackedWeights> choose(const QuantizedView& weights, const KernelOptions& options, ThreadPool& pool) {
  if (weights.format->info().kind == FormatKind::raw) {
    if (options.activations == ActivationMode::bf16)
      if (auto packed = pack_bf16_panels(weights, options, pool)) return packed;
    return pack_raw_panels(weights, options, pool);
  }
  if (options.activations == ActivationMode::automatic || options.activations == ActivationMode::int8)
    if (auto packed = pack_integer_panels(weights, options, pool)) return packed;
  return pack_decoded_rows(weights, options, pool);
}

}  // namespace

PackedLinear PackedLinear::pack(const QuantizedView& weights, const KernelOptions& options, ThreadPool& pool) {
  PackedLinear packed;
  packed.state_ = std::make_unique<State>();
  packed.state_->weights = choose(weights, options, pool);
  return packed;
}

std::uint64_t PackedLinear::rows() const noexcept { return state_ ? state_->weights->rows() : 0; }
std::uint64_t PackedLinear::cols() const noexcept { return state_ ? state_->weights->cols() : 0; }
std::uint64_t PackedLinear::resident_bytes() const noexcept { return state_ ? state_->weights->resident_bytes() : 0; }
std::string PackedLinear::kernel_name() const { return state_ ? state_->weights->name() : std::string(); }

void PackedLinear::multiply(const float* x, std::size_t tokens, float* y, ThreadPool& pool, KernelScratch& scratch) const {
  assert(state_);
  if (tokens != 0) state_->weights->multiply(x, tokens, y, pool, scratch);
}

void PackedLinear::decode_row(std::uint64_t row, float* out) const {
  assert(row < rows());
  state_->weights->decode_row(row, out);
}

}  // namespace nibble
