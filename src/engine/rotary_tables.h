// SPDX-License-Identifier: Apache-2.0
//
// Cosines and sines of the tokens of a batch, one table for each set of frequencies that a network turns by, shared by all its layers. One thread
// at a time.
#pragma once

#include <cstddef>
#include <vector>

namespace nibble {

class RotaryTables {
 public:
  // The table for these frequencies (radians a position): the same one for the same frequencies.
  std::size_t add(const std::vector<double>& frequencies);
  // The rows of tokens that stand at position, position + 1, ... Grows to hold them.
  void fill(std::size_t row, std::size_t tokens, std::size_t position);

  const float* cosine(std::size_t table) const { return tables_[table].cosine.data(); }  // [tokens, frequencies]
  const float* sine(std::size_t table) const { return tables_[table].sine.data(); }

 private:
  struct Table {
    std::vector<double> frequencies;
    std::vector<float> cosine, sine;
  };
  std::vector<Table> tables_;
};

}  // namespace nibble
