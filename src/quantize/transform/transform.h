// SPDX-License-Identifier: Apache-2.0
//
// The first stage of a method: what moves difficulty from one place to another before the grid is chosen, leaving the
// function of the model as it is. One file for each choice. `none` is the only one that needs no statistics.
//
// Scaling transforms multiply the columns of a site's Linears by positive scales and divide the outputs of whatever
// produces the site's activation (a norm's weight, the rows of a Linear) by the same, so that they fold away and any
// container can hold the result. Rotations (rotation.h) do, too, or are recorded beside the codes.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "format/format.h"
#include "kernels/machine.h"
#include "quantize/round/rounder.h"
#include "quantize/statistics.h"

namespace nibble {

struct Transform {
  std::string_view name;
  std::string_view description;
  enum class Rule { none, awq, smoothquant, hadamard, hadamard_folded, hadamard_both } rule = Rule::none;
  Needs needs = Needs::nothing;
  double alpha = 0.5;  // smoothquant: how much of the activations' range moves into the weights

  // Whether columns are scaled; whether rotations go into the weights on both sides of a value where that is exact
  // (graph/rotations.h); and whether others are recorded and made while the model runs.
  bool scales() const { return rule == Rule::awq || rule == Rule::smoothquant; }
  bool folds() const { return rule == Rule::hadamard_folded || rule == Rule::hadamard_both; }
  bool runs() const { return rule == Rule::hadamard || rule == Rule::hadamard_both; }
};

// Weights are taken as they are.
inline constexpr Transform kNoTransform{.name = "none", .description = "weights as they are"};

// Every transform, in the order in which help shows them.
std::span<const Transform> list_transforms();
// Error(invalid_argument) lists the known names.
Transform find_transform(std::string_view name);

// One Linear that reads the site.
struct ScaledLinear {
  std::span<const float> weights;  // [rows, cols]
  std::uint64_t rows = 0;
  FormatPtr format;
  FitOptions fit{};
};

struct ScaleRequest {
  const SiteStatistics* site = nullptr;
  std::vector<ScaledLinear> linears;
  // Columns i and j must have the same scale when group_of[i] == group_of[j] (values of attention that several heads
  // read). Empty: none.
  std::vector<std::uint32_t> group_of;
};

// The scales [cols] that multiply the columns; all ones where nothing helps. Groups are honoured.
std::vector<float> choose_scales(const Transform& transform, const ScaleRequest& request, Machine& machine);

// What the site will see once its activation is divided by the scales.
SiteStatistics rescaled(SiteStatistics site, std::span<const float> scales);

}  // namespace nibble
