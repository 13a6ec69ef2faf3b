// SPDX-License-Identifier: Apache-2.0
#include "engine/program.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "kernels/vector_ops.h"

namespace nibble {

struct Program::Runner {
  const Batch& batch;
  const ProgramWeights& weights;
  const std::vector<float*>& slots;
  Workspace& workspace;
  Machine& machine;

  void operator()(const Embed& step) const {
    machine.pool.parallel_for(batch.tokens, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t t = begin; t < end; ++t)
        weights.linears[step.linear]->decode_row(static_cast<std::uint64_t>(batch.ids[t]),
                                                 slots[step.out] + t * step.width);
    });
  }

  void operator()(const Norm& step) const {
    rms_norm(slots[step.in], weights.vectors[step.weight].data(), batch.tokens * step.rows, step.length, step.epsilon,
             slots[step.out], machine);
  }

  void operator()(const Normalize& step) const {
    l2_norm(slots[step.in], batch.tokens * step.rows, step.length, step.epsilon, slots[step.out], machine);
  }

  void operator()(const Products& step) const {
    std::array<LinearProduct, kMostProducts> products;
    for (std::size_t i = 0; i < step.linears.size(); ++i)
      products[i] = {weights.linears[step.linears[i]], slots[step.outs[i]]};
    multiply_all({products.data(), step.linears.size()}, slots[step.in], batch.tokens, machine, step.gated);
    for (std::size_t i = 0; i < step.linears.size(); ++i) add_bias(step.linears[i], products[i].y, batch.tokens);
  }

  // To rows of a Linear's outputs.
  void add_bias(std::size_t linear, float* y, std::size_t rows) const {
    const std::span<const float> bias = weights.biases[linear];
    for (std::size_t t = 0; t < rows && !bias.empty(); ++t)
      for (std::size_t n = 0; n < bias.size(); ++n) y[t * bias.size() + n] += bias[n];
  }

  void operator()(const Rotate& step) const {
    rope(slots[step.x], workspace.rotary.cosine(step.table), workspace.rotary.sine(step.table), batch.tokens,
         step.heads, step.head_dim, 2 * step.pairs, step.half_split, machine);
  }

  void operator()(const Attend& step) const {
    const std::size_t width = step.op.heads * step.op.head_dim, kv_width = step.op.kv_heads * step.op.head_dim;
    workspace.attended.clear();
    for (std::size_t i = 0; i < batch.pieces.size(); ++i) {
      const BatchPiece& piece = batch.pieces[i];
      KvLayer* const cache = batch.caches[step.state * batch.pieces.size() + i];
      workspace.attended.push_back({cache, piece.position, piece.tokens, slots[step.q] + piece.row * width,
                                    step.stores ? slots[step.k] + piece.row * kv_width : nullptr,
                                    step.stores ? slots[step.v] + piece.row * kv_width : nullptr,
                                    slots[step.out] + piece.row * width});
    }
    if (step.stores) store_keys_values(workspace.attended, machine.pool);
    const float* const sinks = step.sinks ? weights.vectors[*step.sinks].data() : nullptr;
    attention(workspace.attended, {step.op.heads, step.op.scale, step.op.window, step.op.soft_cap, sinks}, machine);
  }

  void operator()(const AttendToLatent& step) const {
    const LatentAttention& op = step.op;
    const std::size_t width = op.kept_width(), all = op.heads * width;
    const LatentHeads& heads = *weights.latents[step.weights];
    float *const queries = slots[step.queries], *const kept = slots[step.kept];
    heads.absorb(slots[step.plain], batch.tokens, queries, width, machine);
    machine.pool.parallel_for(batch.tokens, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t t = begin; t < end; ++t) {
        std::copy_n(slots[step.latent] + t * op.latent, op.latent, kept + t * width);
        std::copy_n(slots[step.shared] + t * op.rotary_dim, op.rotary_dim, kept + t * width + op.latent);
        for (std::size_t head = t * op.heads; head < (t + 1) * op.heads; ++head)
          std::copy_n(slots[step.turned] + head * op.rotary_dim, op.rotary_dim, queries + head * width + op.latent);
      }
    });
    workspace.attended.clear();
    for (std::size_t i = 0; i < batch.pieces.size(); ++i) {
      const BatchPiece& piece = batch.pieces[i];
      float *const own = queries + piece.row * all, *const here = kept + piece.row * width;
      workspace.attended.push_back(
          {batch.caches[step.state * batch.pieces.size() + i], piece.position, piece.tokens, own, here, nullptr, own});
    }
    store_keys_values(workspace.attended, machine.pool);
    attention(workspace.attended, {.heads = op.heads, .scale = op.scale}, machine);
    heads.expand(queries, batch.tokens, width, slots[step.out], machine);
  }

  void operator()(const Convolve& step) const {
    workspace.convolved.clear();
    for (std::size_t i = 0; i < batch.pieces.size(); ++i) {
      const std::size_t at = batch.pieces[i].row * step.width;
      workspace.convolved.push_back({batch.memories[step.state * batch.pieces.size() + i], batch.pieces[i].tokens,
                                     slots[step.in] + at, slots[step.out] + at});
    }
    causal_convolution(workspace.convolved,
                       {weights.vectors[step.taps].data(), step.num_taps, step.width, step.activates}, machine);
  }

  void operator()(const Recur& step) const {
    const GatedDeltaRule& op = step.op;
    workspace.recurred.clear();
    for (std::size_t i = 0; i < batch.pieces.size(); ++i) {
      const std::size_t row = batch.pieces[i].row, keys = row * op.key_heads * op.key_dim,
                        values = row * op.heads * op.value_dim, gates = row * op.heads;
      workspace.recurred.push_back({batch.memories[step.state * batch.pieces.size() + i], batch.pieces[i].tokens,
                                    slots[step.q] + keys, slots[step.k] + keys, slots[step.v] + values,
                                    slots[step.forgets] + gates, slots[step.learns] + gates, slots[step.out] + values});
    }
    gated_delta_rule(workspace.recurred,
                     {weights.vectors[step.rate].data(), weights.vectors[step.bias].data(), op.key_heads, op.heads,
                      op.key_dim, op.value_dim, op.scale, op.tiles_heads},
                     machine);
  }

  void operator()(const GatedActivation& step) const {
    const auto multiply = step.activation == Activation::silu   ? silu_multiply
                          : step.activation == Activation::gelu ? gelu_multiply
                                                                : sigmoid_multiply;
    multiply(slots[step.gate], slots[step.up], batch.tokens * step.width, slots[step.out], machine);
  }

  void operator()(const GatedTokens& step) const {
    gate_tokens(slots[step.gate], slots[step.x], batch.tokens, step.width, machine);
  }

  void operator()(const ClampedGate& step) const {
    clamped_swiglu(slots[step.gate], slots[step.up], batch.tokens * step.width, step.op.alpha, step.op.limit,
                   slots[step.out], machine);
  }

  void operator()(const Multiplied& step) const {
    scale_in_place(slots[step.x], batch.tokens * step.width, step.factor, machine.pool);
  }

  void operator()(const MultipliedByWeight& step) const {
    scale_in_place(slots[step.x], batch.tokens * step.width, weights.vectors[step.factor].front(), machine.pool);
  }

  void operator()(const ScaledByPosition& step) const {
    for (const BatchPiece& piece : batch.pieces)
      for (std::size_t t = 0; t < piece.tokens; ++t)
        if (const float factor = step.op.factor(piece.position + t); factor != 1)
          scale_in_place(slots[step.x] + (piece.row + t) * step.width, step.width, factor, machine.pool);
  }

  void operator()(const Squared& step) const { squared_relu(slots[step.x], batch.tokens * step.width, machine.pool); }

  void operator()(const Product& step) const {
    multiply_in_place(slots[step.x], slots[step.factor], batch.tokens * step.width, machine.pool);
  }

  void operator()(const Capped& step) const { soft_cap(slots[step.x], batch.tokens * step.width, step.cap, machine); }

  void operator()(const Accumulate& step) const {
    add_in_place(slots[step.into], slots[step.from], batch.tokens * step.width, machine);
  }

  void operator()(const Choose& step) const {
    machine.pool.parallel_for(batch.tokens, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
      choose_experts(slots[step.logits] + begin * step.experts, end - begin, step.experts, step.op,
                     step.correction ? weights.vectors[*step.correction] : std::span<const float>{},
                     slots[step.routing] + begin * step.experts);
      if (!step.scales) return;
      const std::span<const float> scales = weights.vectors[*step.scales];
      for (std::size_t i = begin * step.experts; i < end * step.experts; ++i)
        slots[step.routing][i] *= scales[i % step.experts];
    });
  }

  void operator()(const Group& step) const {
    workspace.groups[step.group].fill(slots[step.routing], batch.tokens, step.experts);
  }

  void operator()(const ExpertProducts& step) const {
    const ExpertGroups& groups = workspace.groups[step.group];
    std::array<LinearProduct, kMostProducts> products;
    for (std::size_t e = 0; e + 1 < groups.begin.size(); ++e) {
      const std::size_t first = groups.begin[e], count = groups.begin[e + 1] - first;
      if (count == 0 || weights.linears[step.parts.front().linears[e]] == nullptr) continue;
      const float* x = slots[step.in] + first * step.cols;
      if (step.gathers) x = gathered_rows(step, groups, first, count);
      for (std::size_t p = 0; p < step.parts.size(); ++p)
        products[p] = {weights.linears[step.parts[p].linears[e]],
                       slots[step.parts[p].out] + first * step.parts[p].rows};
      multiply_all({products.data(), step.parts.size()}, x, count, machine, step.gated);
      for (std::size_t p = 0; p < step.parts.size(); ++p) add_bias(step.parts[p].linears[e], products[p].y, count);
    }
  }

  // One token's row is where it is.
  const float* gathered_rows(const ExpertProducts& step, const ExpertGroups& groups, std::size_t first,
                             std::size_t count) const {
    const float* const x = slots[step.in];
    if (count == 1) return x + groups.token[first] * step.cols;
    workspace.gathered.resize(std::max(workspace.gathered.size(), count * step.cols));
    machine.pool.parallel_for(count, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i)
        std::copy_n(x + groups.token[first + i] * step.cols, step.cols, &workspace.gathered[i * step.cols]);
    });
    return workspace.gathered.data();
  }

  void operator()(const Mix& step) const {
    const ExpertGroups& groups = workspace.groups[step.group];
    machine.pool.parallel_for(batch.tokens, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t t = begin; t < end; ++t) {
        float* const out = slots[step.out] + t * step.width;
        std::fill_n(out, step.width, 0.0f);
        for (std::size_t entry = groups.first[t]; entry < groups.first[t + 1]; ++entry) {
          const float* const x = slots[step.in] + groups.rows[entry] * step.width;
          const float w = groups.weight[groups.rows[entry]];
          for (std::size_t i = 0; i < step.width; ++i) out[i] += w * x[i];
        }
      }
    });
  }

  void operator()(const Copy& step) const {
    machine.pool.parallel_for(batch.tokens, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin * step.rows; row < end * step.rows; ++row)
        std::copy_n(slots[step.from] + row * step.from_width + step.begin, step.width,
                    slots[step.to] + row * step.width);
    });
  }
};

void Program::run(const Batch& batch, const ProgramWeights& weights, const Bound& bound, Workspace& workspace,
                  Machine& machine) const {
  assert(bound.given.size() + bound.wanted.size() == num_bound_);
  assert(weights.linears.size() == linears_.size() && weights.vectors.size() == vectors_.size());
  assert(weights.latents.size() == latents_.size());
  std::vector<float*>& slots = workspace.places;
  slots.assign(bound.given.begin(), bound.given.end());
  slots.insert(slots.end(), bound.wanted.begin(), bound.wanted.end());
  slots.resize(widths_.size());
  if (workspace.slots.size() < slots.size() - num_bound_) workspace.slots.resize(slots.size() - num_bound_);
  for (std::size_t i = num_bound_; i < slots.size(); ++i) {
    std::vector<float>& memory = workspace.slots[i - num_bound_];
    if (memory.size() < batch.tokens * widths_[i]) memory.resize(batch.tokens * widths_[i]);
    slots[i] = memory.data();
  }
  if (workspace.groups.size() < num_groups_) workspace.groups.resize(num_groups_);
  const Runner runner{batch, weights, slots, workspace, machine};
  for (const Step& step : steps_) std::visit(runner, step);
}

}  // namespace nibble
