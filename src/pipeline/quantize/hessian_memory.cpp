// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/hessian_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "nibble/error.h"
#include "train/loss_curvature.h"

namespace nibble {
namespace {

// Those whose outputs are weighed by kl moments.
bool is_weighed(const ModelTensor& part) {
  return part.role == TensorRole::linear && part.experts == 0 && part.layer >= 0 && part.shape.size() == 2;
}

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

// kl, of the largest Linear's outputs: their moment in another order and what is made of it, a factor in f64 and that
// in the order of rounding.
std::uint64_t output_numbers(const HessianText& text) {
  constexpr std::uint64_t kOfLargest = 4;
  std::uint64_t largest = 0;
  for (const ModelTensor& part : text.source.parts().all())
    if (is_weighed(part)) largest = std::max(largest, part.shape.front());
  return kOfLargest * largest * largest;
}

}  // namespace

std::uint64_t kept_curvature_bytes(const SourceModel& source, std::uint64_t tokens, std::int64_t first_layer,
                                   std::int64_t end_layer) {
  std::uint64_t numbers = 0;
  for (const ModelTensor& part : source.parts().all())
    if (is_weighed(part) && part.layer >= first_layer && part.layer < end_layer)
      numbers += part.shape.front() * part.shape.front() + tokens;
  const std::uint64_t hidden = source.config().hidden;
  return sizeof(float) * (numbers + static_cast<std::uint64_t>(end_layer - first_layer) * hidden * hidden);
}

std::uint64_t rounding_bytes(const Hessian& hessian, const HessianText& text) {
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
  return moments * sizeof(float);
}

std::uint64_t hessian_bytes(const Hessian& hessian, const HessianText& text, Machine& machine) {
  if (!hessian.is_guided()) return 0;
  const std::uint64_t tokens = text.tokens.ids.size();
  std::uint64_t kept = 0;
  if (!hessian.is_kl) kept = kept_token_weight_bytes(text.source, tokens, hessian.groups);
  for (std::int64_t layer = 0; layer < text.source.parts().network().num_layers() && hessian.is_kl; ++layer)
    kept = std::max(kept, kept_curvature_bytes(text.source, tokens, layer, layer + 1));
  return std::max(gradient_bytes(hessian, text, machine), kept + rounding_bytes(hessian, text));
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
