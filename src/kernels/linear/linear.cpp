// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/linear.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "format/outlier_format.h"
#include "format/sparse_format.h"
#include "kernels/linear/f32_panels.h"
#include "kernels/linear/input_rotation.h"
#include "kernels/linear/packed_weights.h"
#include "kernels/select.h"
#include "nibble/error.h"

namespace nibble {

namespace {

// What weights make of their inputs: those that are alike in it prepare the same bytes.
struct PreparedInputs {
  std::uint64_t preparation, grid, cols;
  std::span<const std::uint32_t> order;
  const InputRotation* rotation;

  explicit PreparedInputs(const PackedWeights& w)
      : preparation(w.preparation()),
        grid(w.input_grid()),
        cols(w.cols()),
        order(w.input_order()),
        rotation(w.input_rotation()) {}
  friend bool operator==(const PreparedInputs& a, const PreparedInputs& b) {
    return a.preparation == b.preparation && a.grid == b.grid && a.cols == b.cols &&
           std::ranges::equal(a.order, b.order) &&
           (a.rotation == b.rotation || (a.rotation != nullptr && b.rotation != nullptr && *a.rotation == *b.rotation));
  }
};

}  // namespace

struct PackedLinear::State {
  explicit State(std::unique_ptr<PackedWeights> packed) : weights(std::move(packed)), inputs(*weights) {}
  std::unique_ptr<PackedWeights> weights;
  PreparedInputs inputs;
};

struct PackedLinear::Access {
  static const State& state(const PackedLinear& linear) { return *linear.state_; }
};

PackedLinear::PackedLinear() = default;
PackedLinear::PackedLinear(PackedLinear&&) noexcept = default;
PackedLinear& PackedLinear::operator=(PackedLinear&&) noexcept = default;
PackedLinear::~PackedLinear() = default;

namespace {

// Integers whose parts, a tensor scale and an input order, do not reach into the products; null for others.
std::unique_ptr<PackedWeights> pack_around(const QuantizedView& weights, const KernelOptions& options,
                                           Machine& machine) {
  const TensorParts& parts = *weights.parts;
  const bool reaches_in = std::ranges::any_of(parts_of(parts), [](TensorPart part) {
    return part != TensorPart::tensor_scale && part != TensorPart::input_order;
  });
  if (options.activations == ActivationMode::f32 || options.activations == ActivationMode::bf16 || reaches_in)
    return nullptr;
  QuantizedView inner = weights;
  inner.parts = nullptr;
  auto packed = pack_integer_panels(inner, options, machine);
  if (packed && parts.tensor_scale) packed = pack_scaled_panels(std::move(packed), *parts.tensor_scale);
  if (packed && !parts.input_order.empty()) packed = pack_ordered_panels(std::move(packed), parts.input_order);
  return packed;
}

std::unique_ptr<PackedWeights> choose(const QuantizedView& weights, const KernelOptions& options, Machine& machine);

// Those without it, of inputs that are rotated in front of them.
std::unique_ptr<PackedWeights> pack_behind_rotation(const QuantizedView& weights, const KernelOptions& options,
                                                    Machine& machine) {
  TensorParts others = *weights.parts;
  const ChannelTransform transform = std::exchange(others.input_transform, {});
  QuantizedView inner = weights;
  inner.parts = parts_of(others).empty() ? nullptr : std::make_shared<const TensorParts>(std::move(others));
  return pack_rotated_panels(choose(inner, options, machine), transform, machine.isa);
}

// Codes that have a form of their own, and the outliers beside them; null where there are none, or the codes have none.
std::unique_ptr<PackedWeights> pack_beside_outliers(const QuantizedView& weights, const KernelOptions& options,
                                                    Machine& machine) {
  const OutlierFormat* const format = find_outlier_format(*weights.format);
  if (format == nullptr || options.activations == ActivationMode::f32 || options.activations == ActivationMode::bf16)
    return nullptr;
  QuantizedView codes = weights;
  codes.format = format->weights();
  codes.specs.pop_back();
  codes.planes.pop_back();
  auto packed = pack_integer_panels(codes, options, machine);
  if (!packed) packed = pack_float_panels(codes, options, machine);
  return packed ? pack_outlier_panels(std::move(packed), weights, machine) : nullptr;
}

std::unique_ptr<PackedWeights> choose(const QuantizedView& weights, const KernelOptions& options, Machine& machine) {
  if (weights.parts) {
    if (!weights.parts->input_transform.empty()) return pack_behind_rotation(weights, options, machine);
    if (auto packed = pack_around(weights, options, machine)) return packed;
    // Rows are decoded, parts and all, for each product; no other form has a place for all of them.
    require_only(parts_of(*weights.parts),
                 {TensorPart::input_order, TensorPart::sparse_outliers, TensorPart::tensor_scale},
                 "a product that decodes row by row", "a tensor in " + weights.format->name());
    return pack_decoded_rows(weights, machine);
  }
  if (auto packed = pack_beside_outliers(weights, options, machine)) return packed;
  // Zeros have codes in memory: no product here gains by leaving them out.
  if (const SparseFormat* const sparse = find_sparse_format(*weights.format))
    if (const FormatPtr dense = sparse->dense_format())
      return choose(sparse->dense(weights, dense).view(), options, machine);
  if (weights.format->info().kind == FormatKind::raw) {
    if (takes_bf16(machine.isa, options, weights.specs.at(0).dtype == DType::bf16))
      if (auto packed = pack_bf16_panels(weights, machine)) return packed;
    return pack_raw_panels(weights, machine);
  }
  if (options.activations != ActivationMode::f32 && options.activations != ActivationMode::bf16)
    if (auto packed = pack_integer_panels(weights, options, machine)) return packed;
  if (options.activations != ActivationMode::f32)
    if (auto packed = pack_float_panels(weights, options, machine)) return packed;
  return pack_decoded_rows(weights, machine);
}

}  // namespace

bool takes_bf16(Isa isa, const KernelOptions& options, bool is_exact) {
  if (kernel_table(isa).bf16_tile == nullptr) return false;
  return options.activations == ActivationMode::bf16 ||
         (options.activations == ActivationMode::native && is_exact && kernel_table(isa).bf16_is_fast);
}

PackedLinear PackedLinear::pack(const QuantizedView& weights, const KernelOptions& options, Machine& machine) {
  PackedLinear packed;
  packed.state_ = std::make_unique<State>(choose(weights, options, machine));
  return packed;
}

std::uint64_t PackedLinear::rows() const noexcept { return state_ ? state_->weights->rows() : 0; }
std::uint64_t PackedLinear::cols() const noexcept { return state_ ? state_->weights->cols() : 0; }
std::uint64_t PackedLinear::resident_bytes() const noexcept { return state_ ? state_->weights->resident_bytes() : 0; }
Arithmetic PackedLinear::arithmetic() const noexcept {
  return state_ ? state_->weights->arithmetic() : Arithmetic::f32;
}
std::string PackedLinear::kernel_name() const { return state_ ? state_->weights->name() : std::string(); }

namespace {

constexpr std::uint64_t kWorthwhile = 1u << 17;  // multiply-adds for which other threads are called

// One of several products: its weights, its result, and where its prepared inputs lie.
struct Part {
  const PackedWeights* weights;
  const PreparedInputs* inputs;
  float* y;
  std::size_t shared_at, first_panel;
  bool prepares;
};

void gate_panel(const KernelTable& kernels, Activation activation, std::size_t panel, std::size_t rows,
                std::size_t tokens, float* gate, const float* up) {
  const auto multiply = activation == Activation::silu   ? kernels.silu_multiply
                        : activation == Activation::gelu ? kernels.gelu_multiply
                                                         : kernels.sigmoid_multiply;
  const std::size_t first = panel * kPanelRows, width = std::min(kPanelRows, rows - first);
  for (std::size_t at = first; at != first + tokens * rows; at += rows) multiply(gate + at, up + at, width, gate + at);
}

}  // namespace

void multiply_all(std::span<const LinearProduct> products, const float* x, std::size_t tokens, Machine& machine,
                  const std::optional<GatedProducts>& gated) {
  if (tokens == 0) return;
  assert(products.size() <= kMostProducts);
  assert(!gated ||
         (gated->gate != gated->up && products[gated->gate].weights->rows() == products[gated->up].weights->rows()));
  std::array<Part, kMostProducts> parts;
  std::size_t shared = 0, worker = 0, panels = 0;
  std::uint64_t work = 0;
  for (std::size_t i = 0; i < products.size(); ++i) {
    const auto& [weights, inputs] = PackedLinear::Access::state(*products[i].weights);
    const PackedWeights& w = *weights;
    parts[i] = {&w, &inputs, products[i].y, shared, panels, true};
    for (std::size_t j = 0; j < i && parts[i].prepares; ++j)
      if (inputs == *parts[j].inputs) {
        parts[i].shared_at = parts[j].shared_at;
        parts[i].prepares = false;
      }
    if (parts[i].prepares) shared += whole_lines(w.shared_bytes(tokens));
    worker = std::max(worker, whole_lines(w.worker_bytes()));
    if (!gated || i != gated->up) panels += num_panels(w.rows());  // those are multiplied along with the gate's
    work += w.rows() * w.cols() * tokens;
  }
  std::byte* const base = machine.scratch.reserve(shared + machine.pool.num_threads() * worker);
  for (std::size_t i = 0; i < products.size(); ++i)
    if (parts[i].prepares) parts[i].weights->prepare(x, tokens, machine.pool, base + parts[i].shared_at);
  const auto multiply_panel = [&](std::size_t panel, std::size_t thread) {
    std::size_t i = products.size() - 1;
    while (panel < parts[i].first_panel) --i;
    const std::size_t own = panel - parts[i].first_panel;
    const auto multiply = [&](const Part& part) {
      part.weights->multiply_panel(own, x, tokens, part.y, base + part.shared_at, base + shared + thread * worker);
    };
    multiply(parts[i]);
    if (!gated || i != gated->gate) return;
    const Part& up = parts[gated->up];
    multiply(up);
    gate_panel(kernel_table(machine.isa), gated->activation, own, static_cast<std::size_t>(up.weights->rows()), tokens,
               parts[i].y, up.y);
  };
  if (work >= kWorthwhile) return for_each_panel(machine.pool, panels, multiply_panel);
  for (std::size_t p = 0; p < panels; ++p) multiply_panel(p, 0);
}

void PackedLinear::multiply(const float* x, std::size_t tokens, float* y, Machine& machine) const {
  assert(state_);
  const LinearProduct product{this, y};
  multiply_all({&product, 1}, x, tokens, machine);
}

void PackedLinear::decode_row(std::uint64_t row, float* out) const {
  assert(row < rows());
  state_->weights->decode_row(row, out);
}

}  // namespace nibble
