// SPDX-License-Identifier: Apache-2.0
//
// The small operations between the products of a decoder layer. All f32, defined to the bit (fixed summation trees, own
// exp), the same on every instruction set and for every number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/machine.h"

namespace nibble {

// out[t, i] = x[t, i] / sqrt(mean_i x[t, i]^2 + epsilon) * weight[i]; out does not alias x.
void rms_norm(const float* x, const float* weight, std::size_t tokens, std::size_t width, float epsilon, float* out,
              Machine& machine);

// out[i] = silu(gate[i]) * up[i]; out may alias gate.
void silu_multiply(const float* gate, const float* up, std::size_t count, float* out, Machine& machine);

// out[i] = gelu(gate[i]) * up[i] in the form with tanh; out may alias gate.
void gelu_multiply(const float* gate, const float* up, std::size_t count, float* out, Machine& machine);

// out[i] = sigmoid(gate[i]) * up[i]; out may alias gate.
void sigmoid_multiply(const float* gate, const float* up, std::size_t count, float* out, Machine& machine);

// x[t, i] *= sigmoid(gate[t])
void gate_tokens(const float* gate, float* x, std::size_t tokens, std::size_t width, Machine& machine);

// out[t, i] = x[t, i] / sqrt(sum_i x[t, i]^2 + epsilon); out may alias x.
void l2_norm(const float* x, std::size_t tokens, std::size_t width, float epsilon, float* out, Machine& machine);

// With g = min(gate[i], limit) and u = up[i] within -limit .. limit: out[i] = g / (1 + e^(-alpha g)) * (u + 1); out may
// alias gate.
void clamped_swiglu(const float* gate, const float* up, std::size_t count, float alpha, float limit, float* out,
                    Machine& machine);

// x[i] = cap * tanh(x[i] / cap), within 2^-21 of cap.
void soft_cap(float* x, std::size_t count, float cap, Machine& machine);

// x[i] *= factor[i]
void multiply_in_place(float* x, const float* factor, std::size_t count, ThreadPool& pool);

// x[i] = max(x[i], 0)^2
void squared_relu(float* x, std::size_t count, ThreadPool& pool);

// x[i] *= factor
void scale_in_place(float* x, std::size_t count, float factor, ThreadPool& pool);

// x[i] += y[i]
void add_in_place(float* x, const float* y, std::size_t count, Machine& machine);

// Rotary position embedding (Su et al. 2021) in place on x: [tokens, heads, head_dim]. cos/sin: [tokens, rotary_dim /
// 2], already scaled. Pairs (i, i + rotary_dim / 2) when half_split, else (2i, 2i + 1); dimensions beyond rotary_dim
// pass through.
void rope(float* x, const float* cosine, const float* sine, std::size_t tokens, std::size_t heads, std::size_t head_dim,
          std::size_t rotary_dim, bool half_split, Machine& machine);

}  // namespace nibble
