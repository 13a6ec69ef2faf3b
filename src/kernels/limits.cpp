// SPDX-License-Identifier: Apache-2.0
#include "kernels/limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/elapsed.h"
#include "kernels/linear/resident_bytes.h"
#include "kernels/select.h"

namespace nibble {
namespace {

// Peaks are measured in runs of about half a millisecond: on a processor that others use, too, one of longer ones is
// hardly ever left alone, and kernels, whose runs are as short, would exceed a peak that is none.
constexpr int kShortRuns = 150, kLongRuns = 5;

template <class Body>
double best_seconds(int runs, Body&& body) {
  double best = 1e300;
  for (int run = 0; run < runs; ++run) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(best, seconds_since(start));
  }
  return best;
}

double measure_peak(float (*loop)(std::size_t), double operations, Machine& machine) {
  if (loop == nullptr) return 0;
  const std::size_t iterations = machine.isa == Isa::scalar ? 3'000 : 150'000;
  std::vector<float> results(machine.pool.num_threads() * 16);  // kept, so that the loops are not dropped
  const double seconds = best_seconds(
      kShortRuns, [&] { machine.pool.run([&](std::size_t worker) { results[worker * 16] = loop(iterations); }); });
  return operations * static_cast<double>(iterations) * static_cast<double>(machine.pool.num_threads()) / seconds;
}

}  // namespace

double measure_int8_peak(Machine& machine) {
  return measure_peak(kernel_table(machine.isa).int8_peak, 2 * 768, machine);
}
double measure_bf16_peak(Machine& machine) {
  return measure_peak(kernel_table(machine.isa).bf16_peak, 2 * 384, machine);
}
double measure_f32_peak(Machine& machine) { return measure_peak(kernel_table(machine.isa).f32_peak, 2 * 384, machine); }
double measure_f64_peak(Machine& machine) { return measure_peak(kernel_table(machine.isa).f64_peak, 2 * 192, machine); }

double measure_read_stream(Machine& machine) {
  constexpr std::size_t kBytes = std::size_t{256} << 20;  // well beyond any cache
  const ResidentBytes memory(kBytes * machine.pool.num_threads());
  std::vector<float> results(machine.pool.num_threads() * 16);
  machine.pool.run([&](std::size_t worker) { std::memset(memory.data() + worker * kBytes, 1, kBytes); });
  const double seconds = best_seconds(kLongRuns, [&] {
    machine.pool.run([&](std::size_t worker) {
      results[worker * 16] =
          kernel_table(machine.isa).read_stream(memory.as<float>(worker * kBytes), kBytes / sizeof(float));
    });
  });
  return static_cast<double>(kBytes) * static_cast<double>(machine.pool.num_threads()) / seconds;
}

}  // namespace nibble
