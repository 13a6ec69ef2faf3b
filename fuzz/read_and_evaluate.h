// SPDX-License-Identifier: Apache-2.0
//
// What is done with a small net that any bytes have turned out to be: told, simplified, and run where
// that is little, as it is drawn and compiled.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/cpu.h"
#include "graph/extents.h"
#include "net/engine/net_program.h"
#include "net/net.h"
#include "net/simplify.h"

namespace nibble {

inline void evaluate_fuzzed(const Net& net) {
  std::uint64_t numbers = 0, work = 0;
  for (const Dimensions& value : net.graph.values) numbers += numbers_of(value);
  for (const Node& node : net.graph.nodes) work += work_of(net.graph, node);
  if (numbers > (1u << 18) || work > (1u << 20)) return;
  std::vector<std::vector<float>> given;
  for (const NetPort& input : net.inputs) given.emplace_back(numbers_of(net.graph.values[input.value]), 0.5F);
  evaluate(net, given, nullptr);
  Machine machine(choose_isa(detect_cpu(), {}), 1);
  NetProgram program(net, machine);
  for (std::size_t i = 0; i < given.size(); ++i) std::ranges::copy(given[i], program.input(i).begin());
  program.run();
}

template <class Read>
void read_and_evaluate(Read read) {
  Net net = read();
  evaluate_fuzzed(net);
  simplify(net);
  evaluate_fuzzed(net);
}

}  // namespace nibble
