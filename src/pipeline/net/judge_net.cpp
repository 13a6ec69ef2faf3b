// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/judge_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "evaluate/special_functions.h"
#include "io/message_text.h"
#include "io/npy/npy_file.h"
#include "net/quantize/noise_meter.h"
#include "nibble/error.h"
#include "pipeline/net/net_samples.h"
#include "pipeline/net/score_ranks.h"

namespace nibble {
namespace {

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw Error(ErrorKind::unusable_input, fmt::format("{}: {}", where, why));
}

std::vector<std::int64_t> parse_labels(const std::string& path, std::size_t count) {
  const MappedFile file(path);
  std::vector<std::int64_t> labels;
  if (lower_extension(path) == ".npy") {
    for (const float number : parse_npy(file.bytes(), path).numbers) {
      constexpr float kMost = 0x1p24F;  // whole numbers that f32 tells apart
      if (!(std::fabs(number) <= kMost) || number != std::nearbyint(number))
        refuse(path, fmt::format("label {} is no whole number: {}", labels.size() + 1, number));
      labels.push_back(static_cast<std::int64_t>(number));
    }
  } else {
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    std::size_t line = 0;
    for (std::size_t at = 0; at < text.size(); ++line) {
      std::size_t end = std::min(text.find('\n', at), text.size());
      std::string_view one = text.substr(at, end - at);
      at = end + 1;
      while (!one.empty() && (one.back() == '\r' || one.back() == ' ')) one.remove_suffix(1);
      if (one.empty()) continue;
      std::int64_t label = 0;
      const auto [stop, code] = std::from_chars(one.data(), one.data() + one.size(), label);
      if (code != std::errc{} || stop != one.data() + one.size())
        refuse(path, fmt::format("line {} is no whole number: {}", line + 1, quote_name(std::string(one))));
      labels.push_back(label);
    }
  }
  if (labels.size() != count) refuse(path, fmt::format("has {} labels for {} samples", labels.size(), count));
  return labels;
}

void require_same_ports(const Net& net, const Net& original, bool is_input) {
  const std::vector<NetPort>&a = is_input ? net.inputs : net.outputs,
        &b = is_input ? original.inputs : original.outputs;
  const char* const what = is_input ? "inputs" : "outputs";
  const auto told = [](const Net& one, const std::vector<NetPort>& ports) {
    std::string text;
    for (const NetPort& port : ports)
      text += fmt::format("{}{} [{}]", text.empty() ? "" : ", ", port.name,
                          fmt::join(extents_of(one.graph.values[port.value]), ", "));
    return text;
  };
  if (told(net, a) != told(original, b))
    refuse(net.source,
           fmt::format("has other {} than {}: {}; there: {}", what, original.source, told(net, a), told(original, b)));
}

struct Sums {
  double power = 0, difference = 0;
  void add(const SampleValues& made, const SampleValues& should) {
    for (std::size_t sample = 0; sample < should.size(); ++sample)
      for (std::size_t i = 0; i < should[sample].size(); ++i) {
        const double x = static_cast<double>(should[sample][i]), d = static_cast<double>(made[sample][i]) - x;
        power += x * x;
        difference += d * d;
      }
  }
  double noise() const {
    return difference == 0 ? 0 : power > 0 ? difference / power : std::numeric_limits<double>::infinity();
  }
};

std::size_t place_of_largest(std::span<const float> row) {
  return static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
}

// Whether fewer than `most` numbers are larger than the label's.
bool is_among(std::span<const float> row, std::int64_t label, std::size_t most) {
  if (label < 0 || static_cast<std::size_t>(label) >= row.size()) return false;
  const float own = row[static_cast<std::size_t>(label)];
  return static_cast<std::size_t>(std::ranges::count_if(row, [&](float x) { return x > own; })) < most;
}

struct Counts {
  std::uint64_t rows = 0, same = 0, to_wrong = 0, to_right = 0;
  std::uint64_t top1[2] = {}, top5[2] = {};  // of the original, of the candidate
};

// One sample's first output.
void count_decisions(std::span<const float> made, std::span<const float> should, std::size_t width,
                     const std::int64_t* label, Counts& counts) {
  for (std::size_t first = 0; first + width <= should.size(); first += width) {
    const auto a = made.subspan(first, width), b = should.subspan(first, width);
    ++counts.rows;
    counts.same += (width == 1 ? (a[0] > 0.5F) == (b[0] > 0.5F) : place_of_largest(a) == place_of_largest(b)) ? 1 : 0;
  }
  if (label == nullptr) return;
  const auto is_right = [&](std::span<const float> row) {
    return static_cast<std::int64_t>(width == 1 ? (row[0] > 0.5F ? 1 : 0) : place_of_largest(row)) == *label;
  };
  const bool was = is_right(should.first(width)), is = is_right(made.first(width));
  counts.top1[0] += was ? 1 : 0;
  counts.top1[1] += is ? 1 : 0;
  counts.top5[0] += width == 1 ? was : is_among(should.first(width), *label, 5);
  counts.top5[1] += width == 1 ? is : is_among(made.first(width), *label, 5);
  counts.to_wrong += was && !is ? 1 : 0;
  counts.to_right += !was && is ? 1 : 0;
}

}  // namespace

CountedShare counted_share(std::uint64_t hits, std::uint64_t count) {
  CountedShare share{count, hits};
  if (count == 0) return share;
  share.value = static_cast<double>(hits) / static_cast<double>(count);
  const ShareBounds bounds = share_bounds(static_cast<double>(hits), static_cast<double>(count), 0.025);
  share.low = bounds.low;
  share.high = bounds.high;
  return share;
}

namespace {

// Inputs that are constants, or that a shape is said of, and that a file does not have any more: they are part of it.
NetOptions options_of_candidate(const std::filesystem::path& path, const NetOptions& options) {
  NetOptions made = options;
  const std::vector<std::string> inputs = input_names(path, {});
  const auto is_missing = [&](const auto& one) { return std::ranges::find(inputs, one.first) == inputs.end(); };
  std::erase_if(made.constants, is_missing);
  std::erase_if(made.shapes, is_missing);
  return made;
}

// What a net that says its input again fails by, and the others' first output as one number.
class Scores {
 public:
  Scores(const Net& net, std::size_t width)
      : width_(width),
        rebuilds_(net.inputs.size() == 1 && width > 2 &&
                  extents_of(net.graph.values[net.inputs[0].value]) ==
                      extents_of(net.graph.values[net.outputs[0].value])) {}

  bool rebuilds() const { return rebuilds_; }
  bool are_there() const { return rebuilds_ || width_ <= 2; }
  double of(const std::vector<float>& input, const std::vector<float>& made) const {
    if (!rebuilds_)
      return width_ == 1 ? static_cast<double>(made[0]) : static_cast<double>(made[1]) - static_cast<double>(made[0]);
    double sum = 0;
    for (std::size_t i = 0; i < made.size(); ++i)
      sum += (static_cast<double>(made[i]) - static_cast<double>(input[i])) *
             (static_cast<double>(made[i]) - static_cast<double>(input[i]));
    return sum / static_cast<double>(made.size());
  }

 private:
  std::size_t width_;
  bool rebuilds_;
};

std::size_t num_classes(const Net& net) {
  return static_cast<std::size_t>(std::max<std::uint64_t>(1, width_of(net.graph.values[net.outputs[0].value])));
}

}  // namespace

std::vector<std::int64_t> read_labels(const std::string& path, const Net& net, std::size_t count) {
  const std::size_t width = num_classes(net);
  std::vector<std::int64_t> labels = parse_labels(path, count);
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (labels[i] < 0 || static_cast<std::size_t>(labels[i]) >= std::max<std::size_t>(2, width))
      refuse(path, fmt::format("label {} is none of the net's {} classes: {}", i + 1, width, labels[i]));
  return labels;
}

OpenedPair open_pair(const std::filesystem::path& candidate, const std::filesystem::path& original,
                     const NetOptions& options) {
  OpenedPair pair{open_net(candidate, options_of_candidate(candidate, options)), open_net(original, options)};
  require_same_ports(pair.candidate, pair.original, true);
  require_same_ports(pair.candidate, pair.original, false);
  return pair;
}

NetVerdict judge_net(const std::filesystem::path& candidate, const std::filesystem::path& original,
                     const NetOptions& options, const NetJudgeRequest& request, Machine& machine) {
  const auto [net, reference] = open_pair(candidate, original, options);
  const std::size_t most = request.most_samples == 0 ? std::numeric_limits<std::size_t>::max() : request.most_samples;
  const std::vector<NetSample> samples = read_samples(reference, request.samples, most);
  if (samples.empty()) refuse(original.string(), "there are no samples to judge on");
  std::vector<std::int64_t> labels;
  if (!request.labels.empty()) labels = read_labels(request.labels, reference, samples.size());
  return judge_net(net, reference, samples, labels, machine);
}

NetVerdict judge_net(const Net& net, const Net& reference, std::span<const NetSample> samples,
                     std::span<const std::int64_t> labels, Machine& machine) {
  const std::size_t width = num_classes(reference);
  // Values that both call alike, but for constants.
  std::map<std::string, ValueId> named;
  for (const Node& node : reference.graph.nodes)
    if (!reference.names[node.output].empty() && !std::holds_alternative<Constant>(node.operation))
      named.emplace(reference.names[node.output], node.output);
  std::map<ValueId, ValueId> twin;  // of the reference's, the candidate's
  std::vector<std::pair<ValueId, const Node*>> layers;
  for (const Node& node : net.graph.nodes)
    if (const auto found = named.find(net.names[node.output]);
        found != named.end() && reference.graph.values[found->second] == net.graph.values[node.output]) {
      twin.emplace(found->second, node.output);
      layers.emplace_back(found->second, &node);
    }

  Counts counts;
  const Scores scores(reference, width);
  std::vector<double> of_original, of_candidate;
  std::map<ValueId, Sums> by_layer;
  std::vector<Sums> by_output(reference.outputs.size());
  constexpr std::size_t kTogether = 16;
  for (std::size_t first = 0; first < samples.size(); first += kTogether) {
    const std::span<const NetSample> some = samples.subspan(first, std::min(kTogether, samples.size() - first));
    std::map<ValueId, SampleValues> kept;  // of the candidate
    std::map<ValueId, ValueId> wanted;
    for (const auto& [of_reference, of_net] : twin) wanted.emplace(of_net, of_reference);
    const auto keep = [&](ValueId value, SampleValues& made) {
      if (wanted.contains(value)) kept.emplace(value, made);
    };
    const auto compare = [&](ValueId value, SampleValues& made) {
      if (const auto found = twin.find(value); found != twin.end() && kept.at(found->second).size() == made.size())
        by_layer[value].add(kept.at(found->second), made);
    };
    const std::vector<NetSample> made = walk_samples(net, some, machine, {.see = keep}),
                                 should = walk_samples(reference, some, machine, {.see = compare});
    for (std::size_t i = 0; i < some.size(); ++i) {
      for (std::size_t output = 0; output < by_output.size(); ++output)
        by_output[output].add({made[i][output]}, {should[i][output]});
      count_decisions(made[i][0], should[i][0], width, labels.empty() ? nullptr : &labels[first + i], counts);
      if (!scores.are_there()) continue;
      of_original.push_back(scores.of(some[i][0], should[i][0]));
      of_candidate.push_back(scores.of(some[i][0], made[i][0]));
    }
  }

  NetVerdict verdict;
  verdict.samples = samples.size();
  verdict.agreement = counted_share(counts.same, counts.rows);
  if (scores.rebuilds()) verdict.error_rank_correlation = rank_correlation(of_original, of_candidate);
  if (!labels.empty() && scores.are_there()) {
    verdict.original_auc = area_under_curve(of_original, labels);
    verdict.candidate_auc = area_under_curve(of_candidate, labels);
  }
  if (!labels.empty() && !scores.rebuilds()) {
    verdict.original = {counted_share(counts.top1[0], samples.size()), counted_share(counts.top5[0], samples.size())};
    verdict.candidate = {counted_share(counts.top1[1], samples.size()), counted_share(counts.top5[1], samples.size())};
    verdict.to_wrong = counts.to_wrong;
    verdict.to_right = counts.to_right;
    verdict.mcnemar_p = mcnemar_p(counts.to_wrong, counts.to_right);
  }
  for (std::size_t i = 0; i < by_output.size(); ++i)
    verdict.outputs.push_back({reference.outputs[i].name, "", by_output[i].noise()});
  for (const auto& [value, node] : layers)
    verdict.layers.push_back(
        {reference.names[value], std::string(operation_name(node->operation)), by_layer[value].noise()});
  return verdict;
}

}  // namespace nibble
