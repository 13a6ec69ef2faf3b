// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/net_speed.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/elapsed.h"
#include "base/random.h"
#include "kernels/limits.h"
#include "pipeline/net/net_portrait.h"

namespace nibble {
namespace {

// Codes of the whole range; of other whole numbers, which may be places or truths, 0.
void fill_input(const NetPort& port, std::span<float> numbers, Random& random) {
  const bool is_code = port.type == NumberType::i8 || port.type == NumberType::u8;
  const WholeRange range = is_code ? whole_range(port.type) : WholeRange{0, 0};
  for (float& number : numbers)
    number = is_floating(port.type) ? static_cast<float>(random.normal())
             : is_code ? static_cast<float>(std::floor(range.low + (range.high - range.low + 1) * random.uniform()))
                       : 0.0F;
}

double quantile(const std::vector<double>& ascending, double share) {
  return ascending[static_cast<std::size_t>(share * static_cast<double>(ascending.size() - 1))];
}

}  // namespace

std::vector<double> time_runs(NetProgram& program, double least_seconds) {
  constexpr std::size_t kLeastRuns = 10, kMostRuns = 1'000'000;
  std::vector<double> seconds;
  const auto begin = std::chrono::steady_clock::now();
  while (seconds.size() < kMostRuns && (seconds.size() < kLeastRuns || seconds_since(begin) < least_seconds)) {
    const auto start = std::chrono::steady_clock::now();
    program.run();
    seconds.push_back(seconds_since(start));
  }
  return seconds;
}

NetSpeed measure_net(const std::filesystem::path& path, const NetOptions& options, const NetSpeedOptions& how,
                     Machine& machine) {
  NetSpeed speed;
  auto start = std::chrono::steady_clock::now();
  Net net = open_net(path, options);
  speed.load_seconds = seconds_since(start);
  const NetPortrait portrait = portray(net);
  const std::vector<NetPort> inputs = net.inputs;
  start = std::chrono::steady_clock::now();
  NetProgram program(std::move(net), machine);
  speed.load_seconds += seconds_since(start);
  Random random(1);
  for (std::size_t i = 0; i < inputs.size(); ++i) fill_input(inputs[i], program.input(i), random);
  start = std::chrono::steady_clock::now();
  program.run();
  speed.first_run_seconds = seconds_since(start);
  speed.samples = time_runs(program, how.least_seconds);
  std::vector<double> ascending = speed.samples;
  std::ranges::sort(ascending);
  speed.median = quantile(ascending, 0.5);
  speed.low = quantile(ascending, 0.1);
  speed.high = quantile(ascending, 0.9);
  speed.parameters = portrait.parameters;
  speed.multiply_adds = portrait.multiply_adds;
  speed.file_bytes = std::filesystem::file_size(path);
  speed.value_bytes = program.value_bytes();
  for (const auto& [name, count] : program.steps()) speed.steps.emplace_back(name, count);
  std::size_t of_codes = 0, of_floats = 0;
  for (const auto& [name, count] : program.steps())
    if (name.find("convolution") != std::string_view::npos)
      (name.find("codes") != std::string_view::npos ? of_codes : of_floats) += count;
  speed.multiplies_codes = of_codes > of_floats;
  if (how.measures_limits)
    speed.limit = speed.multiplies_codes ? measure_int8_peak(machine) : measure_f32_peak(machine);
  return speed;
}

}  // namespace nibble
