// SPDX-License-Identifier: Apache-2.0
//
// A compiled net on numbers that are given.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/kernel_sets.h"
#include "net/engine/net_program.h"

namespace nibble {

inline std::vector<std::vector<float>> run_program(const Net& net, const std::vector<std::vector<float>>& given,
                                                   Machine& machine) {
  NetProgram program(net, machine);
  for (std::size_t i = 0; i < given.size(); ++i) std::ranges::copy(given[i], program.input(i).begin());
  program.run();
  std::vector<std::vector<float>> first;
  for (std::size_t i = 0; i < net.outputs.size(); ++i)
    first.emplace_back(program.output(i).begin(), program.output(i).end());
  program.run();  // nothing of a run is left for the next
  for (std::size_t i = 0; i < net.outputs.size(); ++i) EXPECT_TRUE(std::ranges::equal(program.output(i), first[i]));
  return first;
}

// On every instruction set, by one thread and by several: the same bits.
inline std::vector<std::vector<float>> run_on_all_sets(const Net& net, const std::vector<std::vector<float>>& given) {
  Machine machine(Isa::scalar, 1);
  const auto scalar = run_program(net, given, machine);
  for (const Isa isa : runnable_sets())
    for (const std::size_t threads : {1, 3}) {
      Machine other(isa, threads);
      const auto made = run_program(net, given, other);
      for (std::size_t i = 0; i < made.size(); ++i)
        EXPECT_TRUE(same_bits(made[i], scalar[i])) << isa_name(isa) << ' ' << threads;
    }
  return scalar;
}

}  // namespace nibble
