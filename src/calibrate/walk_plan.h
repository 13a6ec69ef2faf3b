// SPDX-License-Identifier: Apache-2.0
//
// How text walks through a drawing site by site: what is kept of every window between two sites, what is computed from
// it anew whenever a site's inputs are asked for, and what is computed and kept when a site is left. Streams, what
// attention gives and where tokens are sent are kept; norms, activations and the products before them are cheaper to
// compute than to keep. Immutable after it is made. Internal to calibrate/.
//
//   WalkPlan plan(drawing, rotary);
//   plan.sites[i].inputs.run(...);    // what the site's Linears read
//   plan.sites[i].leave.run(...);     // on to the next site
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "engine/program.h"
#include "graph/network.h"

namespace nibble {

struct SitePlan {
  std::vector<ValueId> kept;  // values that are there when the site is met
  Program inputs;             // kept -> the site's input; does nothing where that is kept itself
  bool is_kept = false;       // it is
  bool has_products = false;  // its inputs take products to compute
  // kept, and the site's input where it is not among them -> new values. A new one may lie in the place of one that is
  // kept no longer.
  std::vector<ValueId> made;
  Program leave;
};

struct WalkPlan {
  WalkPlan(const DrawnGraph& drawing, RotaryTables& rotary);
  std::vector<SitePlan> sites;  // in the drawing's order
  // Where the values that are kept lie, those that cross from or to another drawing apart; 0: the stream that enters
  // the drawing, and at its end leaves it.
  std::map<ValueId, std::size_t> store_of;
  std::vector<std::uint64_t> widths;  // of stores
};

}  // namespace nibble
