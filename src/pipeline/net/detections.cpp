// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/detections.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/mapped_file.h"
#include "io/npy/npy_file.h"
#include "nibble/error.h"
#include "pipeline/net/net_samples.h"

namespace nibble {
namespace {

constexpr std::size_t kRecalls = 101, kMostOfSample = 100;

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw Error(ErrorKind::unusable_input, fmt::format("{}: {}", where, why));
}

std::vector<DetectedBox> of_kind(std::span<const DetectedBox> boxes, std::size_t kind) {
  std::vector<DetectedBox> some;
  std::ranges::copy_if(boxes, std::back_inserter(some), [&](const DetectedBox& box) { return box.kind == kind; });
  return some;
}

// Whether each detection, in descending order of scores, is right.
std::vector<bool> match(std::vector<DetectedBox> found, std::span<const DetectedBox> truth, double overlap) {
  std::ranges::stable_sort(found, std::ranges::greater{}, &DetectedBox::score);
  std::vector<bool> is_taken(truth.size(), false), is_right;
  std::map<std::size_t, std::size_t> seen;  // by sample
  for (const DetectedBox& one : found) {
    if (++seen[one.sample] > kMostOfSample) continue;
    std::optional<std::size_t> best;
    double most = std::min(overlap, 1 - 1e-10);
    for (std::size_t i = 0; i < truth.size(); ++i) {
      if (truth[i].sample != one.sample || is_taken[i]) continue;
      const double shared = overlap_of(one.corners, truth[i].corners);
      if (shared < most) continue;
      most = shared;
      best = i;
    }
    if (best) is_taken[*best] = true;
    is_right.push_back(best.has_value());
  }
  return is_right;
}

double average_precision(const std::vector<bool>& is_right, std::size_t truths) {
  std::vector<double> recalls, precisions;
  double right = 0;
  for (std::size_t i = 0; i < is_right.size(); ++i) {
    right += is_right[i] ? 1 : 0;
    recalls.push_back(right / static_cast<double>(truths));
    precisions.push_back(right / static_cast<double>(i + 1));
  }
  for (std::size_t i = precisions.size(); i-- > 1;) precisions[i - 1] = std::max(precisions[i - 1], precisions[i]);
  double sum = 0;
  for (std::size_t i = 0; i < kRecalls; ++i) {
    // As COCO's tool counts them: 0.35 is a little more than 7 of 20 there.
    const double wanted = i + 1 == kRecalls ? 1.0 : 0.01 * static_cast<double>(i);
    const auto at = std::ranges::lower_bound(recalls, wanted) - recalls.begin();
    if (at < static_cast<std::ptrdiff_t>(precisions.size())) sum += precisions[static_cast<std::size_t>(at)];
  }
  return sum / kRecalls;
}

// Which output is which, and how many kinds there are.
struct Ports {
  std::size_t scores = 0, places = 1, kinds = 0;
};

Ports ports_of(const Net& net) {
  std::vector<Extents> shapes;
  for (const NetPort& output : net.outputs) shapes.push_back(extents_of(net.graph.values[output.value]));
  const auto candidates = [&](std::size_t i) {
    return shapes[i].empty() ? 0 : numbers_of(std::span<const std::uint64_t>(shapes[i])) / shapes[i].back();
  };
  Ports ports;
  const bool is_pair = shapes.size() == 2 && candidates(0) == candidates(1) && candidates(0) > 0;
  if (is_pair && shapes[1].back() != 4) std::swap(ports.scores, ports.places);
  if (!is_pair || shapes[ports.places].back() != 4)
    refuse(net.source, "is no detector whose two outputs are scores [candidates, kinds] and places [candidates, 4]");
  ports.kinds = static_cast<std::size_t>(shapes[ports.scores].back());
  return ports;
}

// kinds: how many the detector tells, of which the first is none where it has a background.
std::vector<DetectedBox> read_truth(const std::string& path, std::size_t samples, std::size_t kinds,
                                    bool has_background) {
  const std::size_t first_kind = kinds > 1 && has_background ? 1 : 0;
  const MappedFile file(path);
  const NpyArray array = parse_npy(file.bytes(), path);
  if (array.shape.size() != 2 || array.shape[1] != 6)
    refuse(path, "should be [boxes, 6]: of each its sample, its kind, and x and y of two corners");
  std::vector<DetectedBox> boxes;
  for (std::size_t at = 0; at < array.numbers.size(); at += 6) {
    const float* const row = &array.numbers[at];
    const auto is_count = [](float x) { return x >= 0 && x < 0x1p24F && x == std::nearbyint(x); };
    if (!is_count(row[0]) || !is_count(row[1]) || static_cast<std::size_t>(row[0]) >= samples)
      refuse(path,
             fmt::format("box {} is of no sample of {}, or of no kind: {}, {}", at / 6 + 1, samples, row[0], row[1]));
    DetectedBox box{static_cast<std::size_t>(row[0]), static_cast<std::size_t>(row[1]), 1, {}};
    if (box.kind < first_kind || box.kind >= kinds)
      refuse(path, fmt::format("box {} is of a kind that the detector does not find, which are {} to {}: {}",
                               at / 6 + 1, first_kind, kinds - 1, box.kind));
    std::copy_n(row + 2, 4, box.corners.begin());
    if (!(box.corners[0] < box.corners[2] && box.corners[1] < box.corners[3]))
      refuse(path,
             fmt::format("box {} has no area from its first corner, left and above, to its second: {}, {}, {}, {}",
                         at / 6 + 1, row[2], row[3], row[4], row[5]));
    boxes.push_back(box);
  }
  return boxes;
}

std::vector<DetectedBox> found_in(const Net& net, std::span<const NetSample> samples, const DetectionRule& rule,
                                  Machine& machine) {
  const Ports ports = ports_of(net);
  std::vector<DetectedBox> found;
  constexpr std::size_t kTogether = 16;
  for (std::size_t first = 0; first < samples.size(); first += kTogether) {
    const std::span<const NetSample> some = samples.subspan(first, std::min(kTogether, samples.size() - first));
    const std::vector<NetSample> made = walk_samples(net, some, machine, {});
    for (std::size_t i = 0; i < some.size(); ++i)
      std::ranges::copy(detections_of(made[i][ports.scores], made[i][ports.places], ports.kinds, rule, first + i),
                        std::back_inserter(found));
  }
  return found;
}

std::vector<DetectedBox> sure_ones(std::span<const DetectedBox> found, double sure) {
  std::vector<DetectedBox> some;
  std::ranges::copy_if(found, std::back_inserter(some), [&](const DetectedBox& box) { return box.score >= sure; });
  return some;
}

}  // namespace

double overlap_of(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  const double width = std::min(a[2], b[2]) - std::max(a[0], b[0]),
               height = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const auto area = [](const std::array<double, 4>& box) { return (box[2] - box[0]) * (box[3] - box[1]); };
  return width * height / (area(a) + area(b) - width * height);
}

std::vector<DetectedBox> detections_of(std::span<const float> scores, std::span<const float> places, std::size_t kinds,
                                       const DetectionRule& rule, std::size_t sample) {
  std::vector<DetectedBox> kept;
  for (std::size_t kind = kinds > 1 && rule.has_background ? 1 : 0; kind < kinds; ++kind) {
    std::vector<DetectedBox> found;
    for (std::size_t i = 0; i * kinds < scores.size(); ++i) {
      const auto score = static_cast<double>(scores[i * kinds + kind]);
      if (!(score >= rule.least_score)) continue;
      DetectedBox box{sample, kind, score, {}};
      std::copy_n(&places[i * 4], 4, box.corners.begin());
      if (rule.has_centers)
        box.corners = {box.corners[0] - box.corners[2] / 2, box.corners[1] - box.corners[3] / 2,
                       box.corners[0] + box.corners[2] / 2, box.corners[1] + box.corners[3] / 2};
      found.push_back(box);
    }
    std::ranges::stable_sort(found, std::ranges::greater{}, &DetectedBox::score);
    const std::size_t first = kept.size();
    for (const DetectedBox& one : found)
      if (std::ranges::none_of(std::span(kept).subspan(first), [&](const DetectedBox& better) {
            return overlap_of(one.corners, better.corners) > rule.overlap;
          }))
        kept.push_back(one);
  }
  return kept;
}

std::optional<double> mean_average_precision(std::span<const DetectedBox> found, std::span<const DetectedBox> truth,
                                             double overlap) {
  std::set<std::size_t> kinds;
  for (const DetectedBox& box : truth) kinds.insert(box.kind);
  if (kinds.empty()) return std::nullopt;
  double sum = 0;
  for (const std::size_t kind : kinds) {
    const std::vector<DetectedBox> right = of_kind(truth, kind);
    sum += average_precision(match(of_kind(found, kind), right, overlap), right.size());
  }
  return sum / static_cast<double>(kinds.size());
}

std::optional<double> coco_precision(std::span<const DetectedBox> found, std::span<const DetectedBox> truth) {
  if (truth.empty()) return std::nullopt;
  double sum = 0;
  for (int i = 0; i < 10; ++i) sum += *mean_average_precision(found, truth, 0.5 + 0.05 * i);
  return sum / 10;
}

DetectionVerdict judge_detections(const std::filesystem::path& candidate, const std::filesystem::path& original,
                                  const NetOptions& options, const DetectionJudgeRequest& request, Machine& machine) {
  const OpenedPair nets = open_pair(candidate, original, options);
  const std::vector<NetSample> samples =
      read_samples(nets.original, request.samples, std::numeric_limits<std::size_t>::max());
  if (samples.empty()) refuse(original.string(), "there are no samples to judge on");
  const std::vector<DetectedBox> truth =
      request.truth.empty()
          ? std::vector<DetectedBox>{}
          : read_truth(request.truth, samples.size(), ports_of(nets.original).kinds, request.rule.has_background);
  const std::vector<DetectedBox> should = found_in(nets.original, samples, request.rule, machine),
                                 is = found_in(nets.candidate, samples, request.rule, machine),
                                 sure = sure_ones(should, request.sure);
  DetectionVerdict verdict{.samples = samples.size(),
                           .found_by_original = sure.size(),
                           .found = sure_ones(is, request.sure).size(),
                           .original = {},
                           .candidate = {},
                           .same_50 = mean_average_precision(is, sure, 0.5),
                           .same_90 = mean_average_precision(is, sure, 0.9)};
  if (truth.empty()) return verdict;
  const auto judged = [&](std::span<const DetectedBox> found) {
    return DetectionVerdict::Precision{*mean_average_precision(found, truth, 0.5), *coco_precision(found, truth)};
  };
  verdict.original = judged(should);
  verdict.candidate = judged(is);
  return verdict;
}

}  // namespace nibble
