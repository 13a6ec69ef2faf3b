// SPDX-License-Identifier: Apache-2.0
#include "kernels/log_probabilities.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "kernels/select.h"

namespace nibble {

LogSumExp log_sum_exp(const float* x, std::size_t count, Isa isa) {
  assert(count != 0);
  const KernelTable& kernels = kernel_table(isa);
  const float maximum = kernels.maximum(x, count);
  return {maximum, static_cast<double>(maximum) + std::log(kernels.sum_exp(x, count, maximum))};
}

LogitDivergence divergence_of_logits(const float* p, const float* q, std::size_t count, Isa isa) {
  assert(count != 0);
  // KL = sum_i p_i (log p_i - log q_i) = sum_i p_i (x_i - y_i) - log_sum_p + log_sum_q, with p_i = exp(x_i -
  // log_sum_p).
  const KernelTable& kernels = kernel_table(isa);
  const float maximum_p = kernels.maximum(p, count), maximum_q = kernels.maximum(q, count);
  double sums[3];
  kernels.divergence_sums(p, q, count, maximum_p, maximum_q, sums);
  LogitDivergence result;
  result.log_sum_p = static_cast<double>(maximum_p) + std::log(sums[0]);
  result.log_sum_q = static_cast<double>(maximum_q) + std::log(sums[1]);
  // Rounding can leave a hair below zero, where no divergence can be; what is not finite must not be taken for that.
  const double kl = sums[2] / sums[0] - result.log_sum_p + result.log_sum_q;
  result.kl = kl < 0 && std::isfinite(sums[2]) ? 0 : kl;
  return result;
}

void greatest(const float* x, std::size_t count, std::span<std::uint32_t> best, Isa isa) {
  constexpr std::size_t kChunk = 256;
  assert(!best.empty() && best.size() <= count);
  const KernelTable& kernels = kernel_table(isa);
  std::size_t held = 0;
  for (std::size_t begin = 0; begin < count; begin += kChunk) {
    const std::size_t end = std::min(count, begin + kChunk);
    // Most chunks hold nothing that leads.
    if (held == best.size() && !(kernels.maximum(x + begin, end - begin) > x[best[held - 1]])) continue;
    for (std::size_t i = begin; i < end; ++i) {
      if (held == best.size() && !(x[i] > x[best[held - 1]])) continue;
      std::size_t place = held < best.size() ? held++ : held - 1;
      for (; place > 0 && x[i] > x[best[place - 1]]; --place) best[place] = best[place - 1];
      best[place] = static_cast<std::uint32_t>(i);
    }
  }
}

}  // namespace nibble
