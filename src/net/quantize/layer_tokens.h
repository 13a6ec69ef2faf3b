// SPDX-License-Identifier: Apache-2.0
//
// Convolutions and Linears seen alike: rows of a weight matrix, in groups, that multiply what a token is. Of a Linear a
// token is a row of what it reads, of a convolution what a place of its result sees. Pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "net/quantize/sample_walk.h"

namespace nibble {

// rows, cols: of a group.
struct TokenLayout {
  std::size_t groups = 1, rows = 0, cols = 0;
  std::size_t tokens = 0;  // of one sample
  std::size_t places = 0;  // tokens of one image, whose outputs lie together by row; 0: each token's do
};
TokenLayout token_layout(const Net& net, const Node& node);

// Calls body(group, first token, rows [tokens, cols]) for all tokens of a sample, images one after the other.
using SeeTokens = std::function<void(std::size_t group, std::size_t first, std::span<const float> tokens)>;
void for_each_group(const Net& net, const Node& node, std::span<const float> sample, const SeeTokens& body);

// Tokens of samples in a random order, and what should be made of them.
struct LayerTokens {
  std::vector<std::vector<float>> x, y;  // by group: [tokens, cols], [tokens, rows]
};
// x: what the layer reads, y: what it makes, by sample. most: tokens, spread over all of them.
LayerTokens draw_tokens(const Net& net, const Node& node, std::span<const std::vector<float>> x,
                        std::span<const std::vector<float>> y, std::size_t most, std::uint64_t seed);

}  // namespace nibble
