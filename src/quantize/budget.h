// SPDX-License-Identifier: Apache-2.0
//
// Solves for the mix that loses least within a budget. Tensors that must share a format are one item; each item takes
// one of its candidates; losses add up (they do to second order, where rounding errors of different tensors are
// independent).
//
//   std::vector<std::size_t> choice = solve_budget(items, 3'500'000'000);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nibble {

struct BudgetCandidate {
  std::string format;
  std::uint64_t bytes = 0;
  double loss = 0;  // expected, in nats of divergence
};

struct BudgetItem {
  std::string name;                  // "layer 3, q k v"
  std::vector<std::string> tensors;  // GGUF names
  std::vector<BudgetCandidate> candidates;
};

// One candidate index an item: the smallest total loss whose total bytes stay within max_bytes, to a resolution of
// max_bytes / 8192 (never above max_bytes). Dynamic programming over items and bytes. Empty when even the smallest
// candidates are too many bytes.
std::vector<std::size_t> solve_budget(const std::vector<BudgetItem>& items, std::uint64_t max_bytes);

// The fewest bytes whose total loss stays within max_loss; empty when even the best candidates lose more.
std::vector<std::size_t> solve_loss(const std::vector<BudgetItem>& items, double max_loss);

std::uint64_t bytes_of(const std::vector<BudgetItem>& items, const std::vector<std::size_t>& choice);
double loss_of(const std::vector<BudgetItem>& items, const std::vector<std::size_t>& choice);

}  // namespace nibble
