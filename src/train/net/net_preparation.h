// SPDX-License-Identifier: Apache-2.0
//
// What a net goes through before and after its weights are trained in few bits. Pure functions.
//
//   const std::vector<TrainedProduct> products = products_of(net);
//   put_signs_before(net, products[1]);
//   ... RoundedWeights, NetTrainer ...
//   const NetCodes codes = take_codes(net, rounded, pool);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "net/net.h"
#include "net/weight_codes.h"
#include "train/rounded_weights.h"

namespace nibble {

// A convolution or Linear whose weights no other operation reads.
struct TrainedProduct {
  std::string part, name;  // name: of what it makes, as the file calls it
  std::uint64_t rows = 0, numbers = 0;
};
std::vector<TrainedProduct> products_of(const Net& net);

// Weights as a run from nothing begins with them: normal with a variance of 2 / inputs of a row (He et al. 2015,
// arXiv:1502.01852); biases 0; norms that leave what they read as it is.
void draw_weights(Net& net, std::uint64_t seed);

// What the product reads becomes signs of it behind a norm by channel (Courbariaux et al. 2016, arXiv:1602.02830); a
// Relu right before that is left out where nobody else reads it. false: what it reads has no channels to norm by.
bool put_signs_before(Net& net, const std::string& part);

// The net's products take what is stored of their rounded weights, norms and numbers by channel are folded into them,
// and codes are what remains: a scale for each row.
NetCodes take_codes(Net& net, std::span<const RoundedWeights> rounded, ThreadPool& pool);

}  // namespace nibble
