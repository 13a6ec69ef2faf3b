// SPDX-License-Identifier: Apache-2.0
//
// What is made small: from logits, some tokens at a time, a loss for each of them, and the gradient by the logits.
// Means over the tokens of a batch, in nats.
//
//   const LossFunction loss = next_token_loss(targets, machine);
//   const double mean = tape.run(ids, batch, loss, Tape::Walk::there_and_back);
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/machine.h"

namespace nibble {

// logits: [tokens, vocabulary], of the batch's tokens from `first` on; becomes the gradient by them. losses: [tokens],
// each token's share of the mean.
using LossFunction = std::function<void(std::size_t first, std::span<float> logits, std::span<double> losses)>;

inline constexpr std::int32_t kNoTarget = -1;  // of a token behind which nothing is to be predicted

// Of sequences of one length, row-major, what follows each token in its own; behind the last nothing is known.
std::vector<std::int32_t> following_tokens(std::span<const std::int32_t> ids, std::size_t length);

// Cross-entropy of the tokens that follow: targets: [tokens of the batch], borrowed, as is the machine.
LossFunction next_token_loss(std::span<const std::int32_t> targets, Machine& machine);

// The same of tokens that the model itself would say: one is drawn from each of its distributions, by a number that
// follows from the seed and the token's place in the text, which the batch's first token is `first_token` of. The mean
// square of the gradient is then Fisher's information. tokens: of the batch.
struct OwnTargets {
  std::uint64_t seed = 0, first_token = 0;
  std::size_t tokens = 0;
};
LossFunction own_token_loss(const OwnTargets& own, Machine& machine);

// KL(P || Q) of the distributions at a temperature T: P = softmax(teacher / T), Q = softmax(logits / T). teacher: fills
// the logits of the batch's tokens from `first` on. tokens: of the batch.
struct TeacherLogits {
  std::function<void(std::size_t first, std::span<float> logits)> fill;
  std::size_t tokens = 0;
  float temperature = 1;
};
LossFunction divergence_loss(TeacherLogits teacher, Machine& machine);

// share of the first, the rest of the second.
LossFunction mixed_loss(LossFunction first, double share, LossFunction second);

}  // namespace nibble
