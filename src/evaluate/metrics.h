// SPDX-License-Identifier: Apache-2.0
//
// What a verdict measures: one list, from which tables, JSON, acceptance rules and pages are derived.
//
//   for (const MetricInfo& metric : list_metrics()) print(metric.title, figures[metric.id].value);
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "nibble/evaluate.h"

namespace nibble {

enum class MetricUnit { plain, ratio, nats, share, change };  // share: 0 to 1; change: of a probability, -1 to 1
enum class Better { lower, higher, neither };
enum class MetricKind { mean, quantile, maximum };

struct MetricInfo {
  Metric id;
  std::string_view key;     // in JSON
  std::string_view accept;  // in acceptance rules; empty: cannot be judged
  std::string_view title;
  std::string_view meaning;  // one line
  MetricUnit unit;
  Better better;
  MetricKind kind;
  double share = 0;  // of a quantile
};

// In the order of Metric.
std::span<const MetricInfo, kNumMetrics> list_metrics();
const MetricInfo& describe(Metric metric);

}  // namespace nibble
