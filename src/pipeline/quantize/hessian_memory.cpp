// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/hessian_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "nibble/error.h"
#include "train/loss_curvature.h"

namespace nibble {
namespace {

// While gradients are found. kl: of a layer at a time, at least.
std::uint64_t gradient_bytes(const Hessian& hessian, const HessianText& text, Machine& machine) {
  if (!hessian.is_kl)
    return token_weight_bytes(text.source, text.tokens, {.groups = hessian.groups, .arithmetic = text.arithmetic},
                              machine);
  std::uint64_t most = 0;
  for (std::int64_t layer = 0; layer < text.source.parts().network().num_layers(); ++layer)
    most = std::max(
        most, curvature_bytes(text.source, text.tokens,
                              {.first_layer = layer, .end_layer = layer + 1, .arithmetic = text.arithmetic}, machine));
  return most;
}

// kl, while a matrix is rounded: moments of the outputs of a layer's Linears and of its stream, and of the largest of
// them its rows in another order and what is made of it, a factor in f64 and that in the order of rounding.
std::uint64_t output_numbers(const HessianText& text) {
  constexpr std::uint64_t kOfLargest = 4;
  const ModelTensors& parts = text.source.parts();
  const Network& network = parts.network();
  std::uint64_t most = 0;
  for (std::int64_t layer = 0; layer < network.num_layers(); ++layer) {
    std::uint64_t all = text.source.config().hidden * text.source.config().hidden, largest = 0;
    for (const Site& site : network.layer(layer).sites)
      for (const std::string& part : site.parts) {
        if (site.experts != 0) continue;
        const std::uint64_t rows = parts.part(part, layer)->shape.front();
        all += rows * rows;
        largest = std::max(largest, rows * rows);
      }
    most = std::max(most, all + kOfLargest * largest);
  }
  return most;
}

}  // namespace

std::uint64_t hessian_bytes(const Hessian& hessian, const HessianText& text, Machine& machine) {
  if (!hessian.is_guided()) return 0;
  // Of each group a shard's sums and the total, the same of targets, and what rounding makes of the moment: its factor
  // and its columns by spans.
  const std::uint64_t matrices = (text.follows_original ? 4 : 2) + 2 + (text.rotates ? 1 : 0);
  const Network& network = text.source.parts().network();
  std::uint64_t moments = 0;
  for (std::int64_t layer = 0; layer < network.num_layers(); ++layer)
    for (const Site& site : network.layer(layer).sites)
      if (site.experts == 0) moments = std::max(moments, hessian.groups * matrices * site.width * site.width);
  if (hessian.is_kl) moments += output_numbers(text);
  const std::uint64_t kept = kept_token_weight_bytes(text.source, text.tokens.ids.size(), hessian.groups);
  return std::max(gradient_bytes(hessian, text, machine), kept + moments * sizeof(float));
}

void require_hessian_memory(const Hessian& hessian, const HessianText& text, std::uint64_t available,
                            Machine& machine) {
  const std::uint64_t needed = hessian_bytes(hessian, text, machine);
  if (needed <= available) return;
  Hessian smaller = hessian;
  while (smaller.is_guided() && hessian_bytes(smaller, text, machine) > available) {
    if (!smaller.is_kl) smaller.groups /= 2;
    smaller.is_kl = false;
  }
  throw Error(ErrorKind::resource,
              fmt::format("{} moments take more memory than there is: gradients with all of the model's weights in "
                          "f32, and moments of a matrix's rows; {} ones would fit: {:.2f} GiB of {:.2f}",
                          hessian_name(hessian), hessian_name(smaller), static_cast<double>(needed) * 0x1p-30,
                          static_cast<double>(available) * 0x1p-30),
              "hessian");
}

}  // namespace nibble
