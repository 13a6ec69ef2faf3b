// SPDX-License-Identifier: Apache-2.0
//
// What follows from a drawing, so that no family says it: which Linears read the same input, where a scale of that
// input can be put without changing the function, which rows rotary positions turn, how many parameters and how much
// state there is. Pure functions.
//
//   for (const Site& site : sites_of(layer))
//     if (const auto fold = fold_of(layer, site)) scale(fold->producer, site.parts);
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace nibble {

// Linears that read the same value: one set of statistics serves all, runtimes fuse them, so they should share a
// format.
struct Site {
  std::string name;                     // "attention_in"
  ValueId input = 0;                    // what its Linears read
  std::uint64_t width = 0;              // of it
  std::vector<std::string> parts = {};  // of its Linears, in order
  std::vector<ValueId> outputs = {};    // of them
  // Of the experts that tokens are sent to by a router among these: their matrices, whose inputs are no site's.
  std::vector<std::string> expert_parts = {};
  // Where the site is one Linear whose outputs are only added to a value that is there before: what the Linear should
  // give is known from the sum.
  struct Sum {
    ValueId term, sum;
  };
  std::optional<Sum> added = {};
};

// In the order in which text meets them. Error(internal): a value's readers disagree on the site's name, or two values
// have the same one.
std::vector<Site> sites_of(const Graph& graph);

// A weight whose rows (a vector: elements) can be divided by what all of a site's columns are multiplied by.
struct FoldSite {
  std::string producer;
  bool is_norm = false;
  std::vector<std::string> consumers;     // the site's parts
  std::vector<std::uint32_t> channel_of;  // of each of the site's columns, the producer's channel
};

// Nothing where the scale meets an operation that does not let it pass, a value or a weight that something else reads,
// too, or a head that is also the embedding.
std::optional<FoldSite> fold_of(const Graph& graph, const Site& site);

// Heads whose channels the rows of this weight or bias make, where rotary positions turn them; 0: none do.
std::uint64_t rotated_heads(const Graph& graph, std::string_view part);

// Of all Linears (of the role linear): rows * cols.
std::uint64_t linear_parameters(const Graph& graph);

}  // namespace nibble
