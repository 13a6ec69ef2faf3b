// SPDX-License-Identifier: Apache-2.0
//
// A plan's tensors by part and layer, for who goes through a model layer by layer. Internal to pipeline/; safe to read
// from many threads.
//
//   const PlannedParts parts(plan, options);
//   if (parts.asks_for("gate", 3, Needs::second_moment)) ...
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "graph/network.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {

class PlannedParts {
 public:
  // Both outlive this.
  PlannedParts(const QuantizePlan& plan, const QuantizeModelOptions& options);

  const ModelTensors& tensors() const { return tensors_; }
  const DrawnGraph& drawing(std::int64_t layer) const { return tensors_.network().layer(layer); }
  const ModelTensor& tensor(std::string_view part, std::int64_t layer) const { return *tensors_.part(part, layer); }
  // The tensor's place in the plan.
  std::size_t index(std::string_view part, std::int64_t layer) const;
  const TensorPlan& planned(std::string_view part, std::int64_t layer) const {
    return plan_.tensors[index(part, layer)];
  }
  Method method(std::string_view part, std::int64_t layer) const { return method_for(planned(part, layer), options_); }
  // True when the tensor's rounding wants to know that much of its inputs.
  bool asks_for(std::string_view part, std::int64_t layer, Needs needs) const;
  // True of any Linear of the site.
  bool site_asks_for(const Site& site, std::int64_t layer, Needs needs) const;

 private:
  const QuantizePlan& plan_;
  const QuantizeModelOptions& options_;
  ModelTensors tensors_;
};

}  // namespace nibble
