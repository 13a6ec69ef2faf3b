// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/statistics_gaps.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "calibrate/imatrix_file.h"
#include "nibble/error.h"
#include "quantize/method.h"

namespace nibble {
namespace {

constexpr std::size_t kShownNames = 8;

std::string name_list(const std::vector<std::string>& names) {
  std::string list;
  for (std::size_t i = 0; i < std::min(kShownNames, names.size()); ++i) list += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kShownNames) list += fmt::format(" and {} more", names.size() - kShownNames);
  return list;
}

// The experts of a stack share a name: of names that stand more than once the first stays.
void drop_repeated(std::vector<std::string>& names) {
  std::set<std::string> seen;
  std::erase_if(names, [&](const std::string& name) { return !seen.insert(name).second; });
}

bool asks(const TensorPlan& tensor, const QuantizeModelOptions& options, bool tied) {
  const bool is_product = tensor.role == TensorRole::linear || tensor.role == TensorRole::head ||
                          (tensor.role == TensorRole::embedding && tied);
  return is_product && tensor.target.format->info().kind != FormatKind::raw &&
         method_for(tensor, options).needs() != Needs::nothing;
}

}  // namespace

bool is_silent(const SiteStatistics& site) {
  return std::ranges::all_of(site.mean_square, [](float value) { return value == 0; });
}

StatisticsGaps find_gaps(const QuantizePlan& plan, const QuantizeModelOptions& options) {
  StatisticsGaps gaps;
  if (options.calibration.statistics == nullptr) return gaps;
  const ModelTensors tensors(plan.config);
  std::map<const ModelTensor*, const SiteStatistics*> known;
  for (const SiteStatistics& site : options.calibration.statistics->sites)
    for (const ModelTensor* const tensor : tensors_of_site(tensors, site)) known.emplace(tensor, &site);
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
    const TensorPlan& tensor = plan.tensors[i];
    if (!asks(tensor, options, plan.config.tied_embedding)) continue;
    const auto site = known.find(&tensors.all()[i]);  // a plan has the model's tensors in the model's order
    if (site == known.end()) {
      (tensor.role == TensorRole::linear ? gaps.missing : gaps.missing_head).push_back(tensor.target.name);
    } else if (site->second->expert >= 0 && site->second->count == 0) {
      continue;  // rounded for what all experts see, which is told elsewhere
    } else if (site->second->count == 0 || is_silent(*site->second))
      gaps.silent.push_back(tensor.target.name);
    else if (tensor.role == TensorRole::linear && !site->second->has_second_moment() &&
             method_for(tensor, options).rounder->needs() == Needs::second_moment)
      gaps.shallow.push_back(tensor.target.name);
  }
  for (std::vector<std::string>* const names : {&gaps.missing, &gaps.missing_head, &gaps.silent, &gaps.shallow})
    drop_repeated(*names);
  return gaps;
}

void require_second_moments(const StatisticsGaps& gaps) {
  if (gaps.shallow.empty()) return;
  throw Error(ErrorKind::unusable_input,
              fmt::format("the method weighs a Linear's inputs against each other, and these statistics hold their "
                          "mean squares only (importance matrices "
                          "never hold more); collect them with second moments, give text in their place, or choose the "
                          "method imatrix: {}",
                          name_list(gaps.shallow)),
              "second_moments");
}

void require_no_gaps(const StatisticsGaps& gaps) {
  if (gaps.missing.empty() && gaps.silent.empty()) return;
  throw Error(ErrorKind::unsupported, describe_gaps(gaps).front(), "strict");
}

std::vector<std::string> describe_gaps(const StatisticsGaps& gaps) {
  std::vector<std::string> lines;
  if (!gaps.missing.empty())
    lines.push_back(
        fmt::format("the statistics have nothing of {} tensors, which are rounded as if all columns mattered alike: {}",
                    gaps.missing.size(), name_list(gaps.missing)));
  if (!gaps.silent.empty())
    lines.push_back(fmt::format(
        "the statistics saw nothing but zeros of {} tensors, which are rounded as if all columns mattered alike: {}",
        gaps.silent.size(), name_list(gaps.silent)));
  if (!gaps.missing_head.empty())
    lines.push_back(
        fmt::format("the statistics have nothing of the output matrix, which importance matrices often leave out; it "
                    "is rounded as if "
                    "all columns mattered alike: {}",
                    name_list(gaps.missing_head)));
  return lines;
}

}  // namespace nibble
