// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/planned_parts.h"

#include <algorithm>

namespace nibble {

PlannedParts::PlannedParts(const QuantizePlan& plan, const QuantizeModelOptions& options)
    : plan_(plan), options_(options), tensors_(plan.config) {}

std::size_t PlannedParts::index(std::string_view part, std::int64_t layer) const {
  return static_cast<std::size_t>(&tensor(part, layer) -
                                  tensors_.all().data());  // a plan has the model's tensors in the model's order
}

bool PlannedParts::asks_for(std::string_view part, std::int64_t layer, Needs needs) const {
  return planned(part, layer).target.format->info().kind != FormatKind::raw && method(part, layer).needs() >= needs;
}

bool PlannedParts::site_asks_for(const Site& site, std::int64_t layer, Needs needs) const {
  return std::ranges::any_of(site.parts, [&](const std::string& part) { return asks_for(part, layer, needs); });
}

}  // namespace nibble
