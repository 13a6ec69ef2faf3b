// SPDX-License-Identifier: Apache-2.0
#include "kernels/recurrent/recurrent.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/select.h"

namespace nibble {
namespace {

constexpr std::size_t kChannels = 128;  // of a convolution that are one thread's at a time; a multiple of 16
constexpr std::size_t kColumns = 64;    // of a head's state, likewise
constexpr std::size_t kGates = 1024;    // about so many, likewise

// What a token's forget and learn gates of a head make of its state.
struct DeltaGates {
  float kept, learnt;
};

DeltaGates gates_of(double forget, double learn, double rate, double bias) {
  const double x = forget + bias, softplus = std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
  return {static_cast<float>(std::exp(rate * softplus)), static_cast<float>(1 / (1 + std::exp(-learn)))};
}

// Of one head. kept, learnt: [tokens]
void fill_gates(const DeltaPiece& piece, const DeltaRule& rule, std::size_t head, float* kept, float* learnt) {
  for (std::size_t t = 0; t < piece.tokens; ++t) {
    const std::size_t at = t * rule.heads + head;
    const DeltaGates gates = gates_of(static_cast<double>(piece.forgets[at]), static_cast<double>(piece.learns[at]),
                                      static_cast<double>(rule.rate[head]), static_cast<double>(rule.bias[head]));
    kept[t] = gates.kept;
    learnt[t] = gates.learnt;
  }
}

}  // namespace

void causal_convolution(std::span<const ConvolutionPiece> pieces, const ConvolutionTaps& convolution,
                        Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  const std::size_t width = convolution.width, chunks = (width + kChannels - 1) / kChannels;
  machine.pool.parallel_for(pieces.size() * chunks, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) {
      const ConvolutionPiece& piece = pieces[i / chunks];
      const std::size_t channel = i % chunks * kChannels;
      kernels.convolve_channels({piece.state + channel, piece.x + channel, piece.out + channel, width,
                                 convolution.taps + channel * convolution.num_taps, convolution.num_taps,
                                 std::min(kChannels, width - channel), piece.tokens, convolution.activates});
    }
  });
}

void gated_delta_rule(std::span<const DeltaPiece> pieces, const DeltaRule& rule, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  const std::size_t chunks = (rule.value_dim + kColumns - 1) / kColumns, width = rule.heads * rule.value_dim,
                    key_width = rule.key_heads * rule.key_dim;
  std::vector<std::size_t> gates_at;  // of each piece: the first of its gates
  std::size_t gates = 0;
  for (const DeltaPiece& piece : pieces) {
    gates_at.push_back(gates);
    gates += piece.tokens * rule.heads;
  }
  float* const kept = reinterpret_cast<float*>(machine.scratch.reserve(2 * gates * sizeof(float)));
  float* const learnt = kept + gates;
  const std::size_t head_runs = pieces.size() * rule.heads;
  const std::size_t runs_at_once = std::max<std::size_t>(1, kGates * head_runs / std::max<std::size_t>(1, gates));
  machine.pool.parallel_for(head_runs, runs_at_once, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t p = i / rule.heads, head = i % rule.heads, at = gates_at[p] + head * pieces[p].tokens;
      fill_gates(pieces[p], rule, head, kept + at, learnt + at);
    }
  });
  machine.pool.parallel_for(
      pieces.size() * rule.heads * chunks, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
        for (std::size_t i = begin; i < end; ++i) {
          const std::size_t p = i / (rule.heads * chunks), head = i / chunks % rule.heads,
                            column = i % chunks * kColumns, at = head * rule.value_dim + column;
          const std::size_t key_head = rule.tiles_heads ? head % rule.key_heads : head / (rule.heads / rule.key_heads);
          const DeltaPiece& piece = pieces[p];
          kernels.delta_rule_columns(
              {piece.state + head * rule.key_dim * rule.value_dim + column, rule.value_dim, rule.key_dim,
               std::min(kColumns, rule.value_dim - column), piece.tokens, piece.queries + key_head * rule.key_dim,
               piece.keys + key_head * rule.key_dim, key_width, piece.values + at, piece.out + at, width,
               kept + gates_at[p] + head * piece.tokens, learnt + gates_at[p] + head * piece.tokens, rule.scale});
        }
      });
}

}  // namespace nibble
