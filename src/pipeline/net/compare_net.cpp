// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/compare_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <set>

#include "base/elapsed.h"
#include "base/half.h"
#include "net/engine/net_program.h"
#include "net/quantize/quantize_net.h"
#include "net/quantize/weight_rounding.h"
#include "nibble/error.h"
#include "pipeline/net/net_samples.h"

namespace nibble {
namespace {

constexpr NetFormat kFormats[] = {NetFormat::single, NetFormat::half,    NetFormat::integer,
                                  NetFormat::four,   NetFormat::ternary, NetFormat::binary};
constexpr std::size_t kMostCalibrated = 128;

struct CodedPart {
  std::string part;
  std::uint64_t rows = 0;
};

// Weights of products, each once.
std::vector<CodedPart> coded_parts(const Net& net) {
  std::vector<CodedPart> parts;
  std::set<std::string> seen;
  for (const Node& node : net.graph.nodes) {
    if (!RoundingScheme::is_product(node)) continue;
    for (const WeightUse& use : net.graph.weights(node))
      if (use.role == TensorRole::linear && seen.insert(use.part).second)
        parts.push_back({use.part, rows_of_weight(node.operation, use)});
  }
  return parts;
}

std::uint64_t bytes_of(const Net& net, std::span<const CodedPart> parts, double bits) {
  std::uint64_t numbers = 0;
  for (const auto& [part, all] : net.weights) numbers += all.size();
  double bytes = 0;
  for (const CodedPart& one : parts) {
    const std::size_t count = net.weight(one.part).size();
    numbers -= count;
    bytes += std::ceil(static_cast<double>(count) * bits / 8) + 4 * static_cast<double>(one.rows);
  }
  return 4 * numbers + static_cast<std::uint64_t>(bytes);
}

// The nearest in direction: what is below seven tenths of the mean size is 0, the rest has its mean size. Of two
// points: all have the mean size.
void round_coarsely(std::span<float> row, bool is_ternary) {
  double sum = 0;
  for (const float x : row) sum += std::abs(static_cast<double>(x));
  const double least = is_ternary ? 0.7 * sum / static_cast<double>(row.size()) : 0;
  double kept = 0;
  std::size_t count = 0;
  for (const float x : row) {
    if (is_ternary && std::abs(static_cast<double>(x)) <= least) continue;
    kept += std::abs(static_cast<double>(x));
    ++count;
  }
  const auto scale = static_cast<float>(count == 0 ? 0 : kept / static_cast<double>(count));
  for (float& x : row) x = is_ternary && std::abs(static_cast<double>(x)) <= least ? 0 : x < 0 ? -scale : scale;
}

double seconds_of_run(const Net& net, const NetSample& sample, Machine& machine) {
  NetProgram program(net, machine);
  for (std::size_t i = 0; i < sample.size(); ++i) std::ranges::copy(sample[i], program.input(i).begin());
  program.run();
  std::vector<double> seconds;
  constexpr double kLeast = 0.3;
  constexpr std::size_t kLeastRuns = 5, kMostRuns = 20000;
  const auto begin = std::chrono::steady_clock::now();
  while (seconds.size() < kMostRuns && (seconds.size() < kLeastRuns || seconds_since(begin) < kLeast)) {
    const auto start = std::chrono::steady_clock::now();
    program.run();
    seconds.push_back(seconds_since(start));
  }
  std::ranges::nth_element(seconds, seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2));
  return seconds[seconds.size() / 2];
}

}  // namespace

std::string_view net_format_name(NetFormat format) {
  constexpr std::string_view kNames[] = {"f32", "f16", "int8", "int4", "ternary", "binary"};
  return kNames[static_cast<std::size_t>(format)];
}

NetComparison compare_net(const std::filesystem::path& path, NetOptions options, const NetJudgeRequest& request,
                          const ProgressCallback& progress, Machine& machine) {
  options.simplifies = true;
  const Net net = open_net(path, options);
  const std::vector<NetSample> samples = read_samples(net, request.samples, std::numeric_limits<std::size_t>::max());
  if (samples.size() < 2)
    throw Error(
        ErrorKind::unusable_input,
        fmt::format("{}: every other sample is judged, the rest calibrates: two are needed at least", path.string()));
  const std::vector<std::int64_t> all_labels =
      request.labels.empty() ? std::vector<std::int64_t>{} : read_labels(request.labels, net, samples.size());
  std::vector<NetSample> calibration, judging;
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (i % 2 == 0) {
      if (calibration.size() < kMostCalibrated) calibration.push_back(samples[i]);
      continue;
    }
    judging.push_back(samples[i]);
    if (!all_labels.empty()) labels.push_back(all_labels[i]);
  }
  const std::vector<CodedPart> parts = coded_parts(net);
  NetComparison made{.calibrated = calibration.size(), .judged = judging.size(), .rows = {}};
  for (const NetFormat format : kFormats) {
    NetComparisonRow& row = made.rows.emplace_back();
    row.format = format;
    Net rounded = net;
    constexpr double kBits[] = {32, 16, 8, 4, 2, 1};
    row.weight_bytes = bytes_of(net, parts, kBits[static_cast<std::size_t>(format)]);
    switch (format) {
      case NetFormat::single:
        row.weight_bytes = bytes_of(net, {}, 32);
        break;
      case NetFormat::half:
        row.weight_bytes = bytes_of(net, {}, 32) / 2;
        for (auto& [part, numbers] : rounded.weights)
          for (float& x : numbers) x = f16_to_f32(f32_to_f16(x));
        break;
      case NetFormat::integer:
      case NetFormat::four: {
        NetQuantizeOptions how;
        how.progress = progress;
        if (format == NetFormat::four) {
          how.weight_bits = 4;
          how.method = "descent";
        }
        NetQuantization quantization = quantize_net(net, calibration, how, machine);
        // What its guard has left in f32 counts so.
        std::vector<CodedPart> coded = parts;
        std::erase_if(coded, [&](const CodedPart& one) { return !quantization.codes.contains(one.part); });
        row.weight_bytes = bytes_of(net, coded, kBits[static_cast<std::size_t>(format)]);
        rounded = std::move(quantization.net);
        break;
      }
      case NetFormat::ternary:
      case NetFormat::binary:
        for (const CodedPart& one : parts) {
          std::vector<float>& numbers = rounded.weights.find(one.part)->second;
          const std::size_t length = numbers.size() / one.rows;
          for (std::size_t r = 0; r < one.rows; ++r)
            round_coarsely(std::span(numbers).subspan(r * length, length), format == NetFormat::ternary);
        }
        break;
    }
    row.verdict = judge_net(rounded, net, judging, labels, machine);
    if (format == NetFormat::single || format == NetFormat::integer)
      row.seconds = seconds_of_run(rounded, judging.front(), machine);
  }
  return made;
}

}  // namespace nibble
