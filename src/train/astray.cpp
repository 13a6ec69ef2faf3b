// SPDX-License-Identifier: Apache-2.0
#include "train/astray.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>

namespace nibble {
namespace {

constexpr double kMargin = 1.5, kKnowing = 0.8;  // shares of what guessing costs
constexpr std::uint64_t kStepsOfMean = 32;       // at least, where nothing but single batches tells

// Which of a text's losses its last one may not be above.
double limit_of(std::span<const LossPoint> before, double guessing) {
  if (before.empty()) return kMargin * guessing;
  const double least = std::ranges::min(before, {}, &LossPoint::loss).loss;
  return least < kKnowing * guessing ? (least + guessing) / 2 : kMargin * std::max(guessing, before.front().loss);
}

double mean_of(std::span<const LossPoint> points) {
  const double sum = std::accumulate(points.begin(), points.end(), 0.0,
                                     [](double total, const LossPoint& point) { return total + point.loss; });
  return sum / static_cast<double>(points.size());
}

}  // namespace

std::string astray_where_judged(const CourseOfLosses& course) {
  if (course.held_out.empty() || course.training.empty()) return {};
  const LossPoint now = course.held_out.back();
  const std::span<const LossPoint> judged(course.held_out.data(), course.held_out.size() - 1);
  if (!(now.loss > limit_of(judged, course.guessing))) return {};
  const std::uint64_t since = judged.empty() ? 0 : judged.back().step;
  const std::span<const LossPoint> all(course.training);
  // Judgements may lie closer together than the points do.
  const auto later = std::ranges::upper_bound(all.first(all.size() - 1), since, {}, &LossPoint::step);
  const double mean = mean_of(all.subspan(static_cast<std::size_t>(later - all.begin())));
  if (!(mean > limit_of(all, course.guessing))) return {};
  std::string was;
  if (!judged.empty()) {
    const LossPoint least = std::ranges::min(judged, {}, &LossPoint::loss);
    was = fmt::format("was {:.4g} in step {}, ", least.loss, least.step);
  }
  return fmt::format(
      "the loss of the held-out text {}is {:.4g} in step {}, that of the text that is learnt from was {:.4g} at least, "
      "is {:.4g}, and guessing would have {:.4g}",
      was, now.loss, now.step, std::ranges::min(all, {}, &LossPoint::loss).loss, mean, course.guessing);
}

std::string astray_by_training(const CourseOfLosses& course) {
  const std::span<const LossPoint> all(course.training);
  const std::size_t quarter = all.size() / 4;
  if (quarter == 0 || all.back().step / 4 < kStepsOfMean) return {};
  std::vector<LossPoint> means;
  for (std::size_t end = all.size() - 3 * quarter; end <= all.size(); end += quarter)
    means.push_back({all[end - 1].step, mean_of(all.subspan(end - quarter, quarter))});
  const LossPoint last = means.back();
  means.pop_back();
  if (!(last.loss > limit_of(means, course.guessing))) return {};
  const LossPoint least = std::ranges::min(means, {}, &LossPoint::loss);
  return fmt::format(
      "the mean loss of a quarter of the steps was {:.4g} up to step {}, is {:.4g} in the end, and guessing would have "
      "{:.4g}",
      least.loss, least.step, last.loss, course.guessing);
}

}  // namespace nibble
