// SPDX-License-Identifier: Apache-2.0
//
// nibble/plan.h: what of a model fits into a memory.
//
//   plan MODEL BYTES
#include <nibble/error.h>
#include <nibble/plan.h>

#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: plan MODEL BYTES\n";
    return 2;
  }
  // A path is planned for exactly; "70B" would borrow the shape of the nearest known model.
  const nibble::MemoryPlan made =
      nibble::plan({.model = argv[1], .memory = std::strtoull(argv[2], nullptr, 10), .headroom = 0, .bandwidth = 20e9});
  for (const nibble::PlannedWeights& weights : made.formats)
    std::cout << weights.format << ": " << weights.bytes << " bytes, at most " << weights.fastest
              << " tokens per second\n";
  if (!made.best) {
    std::cout << "nothing fits\n";
    return 1;
  }
  std::cout << "the most bits that fit: " << made.formats[*made.best].format << '\n';
  return 0;
}
