// SPDX-License-Identifier: Apache-2.0
//
// How fast a small net runs: one run after the other on the same random inputs.
//
//   const NetSpeed speed = measure_net("mnist.onnx", {}, {.least_seconds = 1}, machine);
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "kernels/machine.h"
#include "net/engine/net_program.h"
#include "net/net.h"

namespace nibble {

struct NetSpeedOptions {
  double least_seconds = 1;  // that runs take together; at least 10 runs
  bool measures_limits = false;
};

struct NetSpeed {
  double load_seconds = 0;               // reading and compiling
  double first_run_seconds = 0;          // the run behind it
  std::vector<double> samples;           // seconds of each further run
  double median = 0, low = 0, high = 0;  // low, high: of ten runs nine take longer, and nine less
  std::uint64_t parameters = 0, multiply_adds = 0, file_bytes = 0, value_bytes = 0;
  std::vector<std::pair<std::string, std::size_t>> steps;  // how many of each kind, by name
  bool multiplies_codes = false;                           // more of its products than not
  double operations_per_second() const { return 2 * static_cast<double>(multiply_adds) / median; }
  double limit = 0;  // operations per second that the machine does at most, in that arithmetic; 0: not measured
};

// Seconds of each run of a program whose inputs are given, one after the other, until they have taken so long.
std::vector<double> time_runs(NetProgram& program, double least_seconds);

NetSpeed measure_net(const std::filesystem::path& path, const NetOptions& options, const NetSpeedOptions& how,
                     Machine& machine);

}  // namespace nibble
