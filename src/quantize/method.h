// SPDX-License-Identifier: Apache-2.0
//
// A method is a composition of stages: transform, fit, round. The list is plain: a new method is a stage file and one
// line here.
//
//   Method method = find_method("rtn");
//   method.fit.rule = FitRule::search;   // a composition may be changed by its parts
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "quantize/round/rounder.h"
#include "quantize/transform/transform.h"

namespace nibble {

// How a layer's Linears learn together once all of them are rounded (train/layer_training.h): not at all, by the signs
// of gradients, or by gradients and curvature. Of Linears alone; other matrices stay as they are rounded.
enum class LayerLearning { none, signs, curvature };

struct Method {
  std::string name;
  std::string description;
  Transform transform = kNoTransform;
  FitOptions fit;
  std::shared_ptr<const Rounder> rounder;

  // What must be known of a Linear's inputs.
  Needs needs() const { return std::max({fit_needs, transform.needs, rounder->needs()}); }
  Needs fit_needs = Needs::nothing;
  LayerLearning learning = LayerLearning::none;
  std::string composition() const;  // "none + auto + nearest"; "... + signs" where something is learned
};

// Every method, in the order in which help shows them.
std::vector<Method> list_methods();

// Of conversions, and in no list: the same numbers, or an error (quantize/round/exact.h).
inline constexpr std::string_view kExactMethod = "exact";

// These, or kExactMethod. Error(invalid_argument) lists the known names.
Method find_method(std::string_view name);

// The rounders by name, for compositions. Error(invalid_argument) lists the known names.
std::shared_ptr<const Rounder> find_rounder(std::string_view name);

}  // namespace nibble
