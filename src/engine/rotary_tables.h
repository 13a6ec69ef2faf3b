// SPDX-License-Identifier: Apache-2.0
//
// Cosines and sines of the tokens of a batch, one table for each way in which a network's operations turn, shared by
// all its layers. One thread at a time.
#pragma once

#include <cstddef>
#include <vector>

#include "graph/op/rope.h"

namespace nibble {

class RotaryTables {
 public:
  // The table for this operation; the same one for those that turn alike.
  std::size_t add(const Rope& rope);
  // The rows of tokens that stand at position, position + 1, ... of a sequence that is to have `length` tokens. Grows
  // to hold them.
  void fill(std::size_t row, std::size_t tokens, std::size_t position, std::size_t length);

  const float* cosine(std::size_t table) const { return tables_[table].cosine.data(); }  // [tokens, frequencies]
  const float* sine(std::size_t table) const { return tables_[table].sine.data(); }

 private:
  struct Table {
    Rope rope;  // of no particular head
    std::vector<float> cosine, sine;
  };
  std::vector<Table> tables_;
};

}  // namespace nibble
