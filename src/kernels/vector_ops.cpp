// SPDX-License-Identifier: Apache-2.0
#include "kernels/vector_ops.h"

#include <algorithm>
#include <cassert>

#include "kernels/select.h"

namespace nibble {
namespace {

constexpr std::size_t kGrain =
    8192;  // elements worth handing to a thread; a multiple of 16, so that chunks begin at whole vectors

std::size_t token_grain(std::size_t width) { return width >= kGrain ? 1 : kGrain / (width == 0 ? 1 : width); }

}  // namespace

void rms_norm(const float* x, const float* weight, std::size_t tokens, std::size_t width, float epsilon, float* out,
              Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  machine.pool.parallel_for(tokens, token_grain(width), [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t)
      kernels.rms_norm_row(x + t * width, weight, width, epsilon, out + t * width);
  });
}

void silu_multiply(const float* gate, const float* up, std::size_t count, float* out, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  machine.pool.parallel_for(count, kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    kernels.silu_multiply(gate + begin, up + begin, end - begin, out + begin);
  });
}

void gelu_multiply(const float* gate, const float* up, std::size_t count, float* out, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  machine.pool.parallel_for(count, kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    kernels.gelu_multiply(gate + begin, up + begin, end - begin, out + begin);
  });
}

void sigmoid_multiply(const float* gate, const float* up, std::size_t count, float* out, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  machine.pool.parallel_for(count, kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    kernels.sigmoid_multiply(gate + begin, up + begin, end - begin, out + begin);
  });
}

void gate_tokens(const float* gate, float* x, std::size_t tokens, std::size_t width, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  machine.pool.parallel_for(tokens, token_grain(width), [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) {
      const float factor = 1 / (1 + kernels.exponential(-gate[t]));
      for (std::size_t i = 0; i < width; ++i) x[t * width + i] *= factor;
    }
  });
}

// What is left after the bounds is SiLU of another gate: g / (1 + e^(-alpha g)) * (u + 1) = silu(alpha g) * ((u + 1) /
// alpha).
void clamped_swiglu(const float* gate, const float* up, std::size_t count, float alpha, float limit, float* out,
                    Machine& machine) {
  constexpr std::size_t kPiece = 512;  // a multiple of 16
  const KernelTable& kernels = kernel_table(machine.isa);
  machine.pool.parallel_for(count, kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    float gates[kPiece], ups[kPiece];
    for (std::size_t at = begin; at < end; at += kPiece) {
      const std::size_t n = std::min(kPiece, end - at);
      for (std::size_t i = 0; i < n; ++i) gates[i] = alpha * std::min(gate[at + i], limit);
      for (std::size_t i = 0; i < n; ++i) ups[i] = (std::clamp(up[at + i], -limit, limit) + 1) / alpha;
      kernels.silu_multiply(gates, ups, n, out + at);
    }
  });
}

void l2_norm(const float* x, std::size_t tokens, std::size_t width, float epsilon, float* out, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  machine.pool.parallel_for(tokens, token_grain(width), [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) kernels.l2_norm_row(x + t * width, width, epsilon, out + t * width);
  });
}

void soft_cap(float* x, std::size_t count, float cap, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  machine.pool.parallel_for(count, kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    kernels.soft_cap(x + begin, end - begin, 1 / cap, cap);
  });
}

void multiply_in_place(float* x, const float* factor, std::size_t count, ThreadPool& pool) {
  pool.parallel_for(count, 4 * kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) x[i] *= factor[i];
  });
}

void squared_relu(float* x, std::size_t count, ThreadPool& pool) {
  pool.parallel_for(count, 4 * kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) {
      const float positive = std::max(x[i], 0.0f);
      x[i] = positive * positive;
    }
  });
}

void scale_in_place(float* x, std::size_t count, float factor, ThreadPool& pool) {
  pool.parallel_for(count, 4 * kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) x[i] *= factor;
  });
}

void add_in_place(float* x, const float* y, std::size_t count, Machine& machine) {
  const KernelTable& kernels = kernel_table(machine.isa);
  machine.pool.parallel_for(count, 4 * kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
    kernels.add_in_place(x + begin, y + begin, end - begin);
  });
}

void rope(float* x, const float* cosine, const float* sine, std::size_t tokens, std::size_t heads, std::size_t head_dim,
          std::size_t rotary_dim, bool half_split, Machine& machine) {
  assert(rotary_dim <= head_dim && rotary_dim % 2 == 0);
  const KernelTable& kernels = kernel_table(machine.isa);
  const auto rotate = half_split ? kernels.rope_half_split : kernels.rope_pairs;
  const std::size_t half = rotary_dim / 2;
  machine.pool.parallel_for(tokens, token_grain(heads * head_dim),
                            [&](std::size_t begin, std::size_t end, std::size_t) {
                              for (std::size_t t = begin; t < end; ++t)
                                for (std::size_t h = 0; h < heads; ++h)
                                  rotate(x + (t * heads + h) * head_dim, cosine + t * half, sine + t * half, half);
                            });
}

}  // namespace nibble
