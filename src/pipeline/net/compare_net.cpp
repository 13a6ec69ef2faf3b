// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/compare_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/half.h"
#include "net/engine/net_program.h"
#include "net/quantize/quantize_net.h"
#include "net/quantize/weight_rounding.h"
#include "nibble/error.h"
#include "pipeline/net/net_samples.h"
#include "pipeline/net/net_speed.h"
#include "train/estimator/estimator.h"

namespace nibble {
namespace {

struct Known {
  NetFormat format;
  std::string_view name;
  double bits;  // of a weight
};
constexpr Known kFormats[] = {{NetFormat::single, "f32", 32},     {NetFormat::half, "f16", 16},
                              {NetFormat::integer, "int8", 8},    {NetFormat::four, "int4", 4},
                              {NetFormat::ternary, "ternary", 2}, {NetFormat::binary, "binary", 1}};
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

// Every row as an estimator of training rounds it.
void round_rows(std::span<float> numbers, std::uint64_t rows, const Estimator& estimator, const CodePoints& points) {
  const std::size_t length = numbers.size() / rows;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::span<float> row = numbers.subspan(r * length, length);
    const std::vector<float> masters(row.begin(), row.end());
    float scales[kMostScales] = {};
    estimator.find_scales({points, masters}, 0, scales);
    estimator.values({points, masters}, scales, row);
  }
}

double seconds_of_run(const Net& net, const NetSample& sample, Machine& machine) {
  NetProgram program(net, machine);
  for (std::size_t i = 0; i < sample.size(); ++i) std::ranges::copy(sample[i], program.input(i).begin());
  program.run();
  std::vector<double> seconds = time_runs(program, 0.3);
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::ranges::nth_element(seconds, middle);
  return *middle;
}

}  // namespace

std::string_view net_format_name(NetFormat format) { return std::ranges::find(kFormats, format, &Known::format)->name; }

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
  for (const auto& [format, name, bits] : kFormats) {
    NetComparisonRow& row = made.rows.emplace_back();
    row.format = format;
    Net rounded = net;
    row.weight_bytes = bytes_of(net, parts, bits);
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
        row.weight_bytes = bytes_of(net, coded, bits);
        rounded = std::move(quantization.net);
        break;
      }
      case NetFormat::ternary:
      case NetFormat::binary: {
        const bool is_ternary = format == NetFormat::ternary;
        const CodePoints points = code_points(*find_format(is_ternary ? "ternary:row" : "binary:row"));
        for (const CodedPart& one : parts)
          round_rows(rounded.weights.find(one.part)->second, one.rows, is_ternary ? twn_estimator() : bwn_estimator(),
                     points);
        break;
      }
    }
    row.verdict = judge_net(rounded, net, judging, labels, machine);
    if (format == NetFormat::single || format == NetFormat::integer)
      row.seconds = seconds_of_run(rounded, judging.front(), machine);
  }
  return made;
}

}  // namespace nibble
