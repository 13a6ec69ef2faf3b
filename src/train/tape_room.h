// SPDX-License-Identifier: Apache-2.0
//
// What walking through drawings forwards and backwards works with: the shape of a batch, how products are multiplied,
// and memory that is used again. One thread at a time.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/huge_pages.h"
#include "kernels/attention/attention.h"
#include "kernels/dense/matrix_product.h"
#include "kernels/machine.h"

namespace nibble {

// Sequences of one length, each from position 0 on; row-major one after the other.
struct SequenceBatch {
  std::size_t sequences = 0, length = 0;
  std::size_t tokens() const { return sequences * length; }
  bool operator==(const SequenceBatch&) const = default;
};

// Vectors that were given back are taken again by size: memory that is touched for the first time costs more than what
// is done in it.
class NumberBuffers {
 public:
  // Contents undefined.
  std::vector<float> take(std::size_t size) {
    for (std::vector<float>& buffer : free_)
      if (buffer.size() == size) {
        std::swap(buffer, free_.back());
        std::vector<float> found = std::move(free_.back());
        free_.pop_back();
        return found;
      }
    return large_vector(size);
  }
  void give_back(std::vector<float>&& buffer) {
    if (!buffer.empty()) free_.push_back(std::move(buffer));
  }
  void clear() { free_.clear(); }

 private:
  std::vector<std::vector<float>> free_;
};

struct TapeRoom {
  Machine& machine;
  ProductArithmetic arithmetic = ProductArithmetic::f32;
  KvType kv = KvType::f32;  // what keys and values are rounded to, as by a cache, before queries meet them
  NumberBuffers buffers = {};
  std::vector<KernelScratch> workers = {};  // of one thread each
};

}  // namespace nibble
