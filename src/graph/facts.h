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
#include <span>
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
  std::vector<std::string> parts = {};  // of its Linears, in order; those of one expert after those of another
  std::vector<ValueId> outputs = {};    // of them; of experts one for all
  // Of experts: how many, to how many of them a token is sent, and by which routing. An expert's Linears see the tokens
  // that are sent to it: rows of the input, or where it lies by expert (has_own_inputs) its own.
  std::uint64_t experts = 0, used = 0;
  ValueId routing = 0;
  bool has_own_inputs = false;
  // Where the site is one Linear whose outputs are only added to a value that is there before: what the Linear should
  // give is known from the sum.
  struct Sum {
    ValueId term, sum;
  };
  std::optional<Sum> added = {};

  // The first one that sees inputs of its own, -1 where there are none: for (e = first_expert(); e < end_expert();
  // ++e).
  std::int64_t first_expert() const { return experts == 0 ? -1 : 0; }
  std::int64_t end_expert() const { return static_cast<std::int64_t>(experts); }
  // Of one expert; -1: all.
  std::span<const std::string> parts_of(std::int64_t expert) const;
  // Numbers of the input for each token.
  std::uint64_t numbers_per_token() const { return has_own_inputs ? width * used : width; }
};

// In the order in which text meets them. Error(internal): a value's readers disagree on the site's name, or two values
// have the same one. A router and the experts that it sends tokens to may read the same value, by sites of their own.
std::vector<Site> sites_of(const Graph& graph);

// A weight whose rows (a vector: elements) can be divided by what all of a site's columns are multiplied by.
struct FoldSite {
  std::string producer;
  bool is_norm = false;
  std::vector<std::string> consumers;     // the site's parts
  std::vector<std::uint32_t> channel_of;  // of each of the site's columns, the producer's channel
  bool is_by_expert = false;              // the producer is a matrix of each expert, which takes its own scale
};

// The fold of one expert's inputs.
FoldSite fold_of_expert(const FoldSite& fold, const Site& site, std::int64_t expert);
// Whether an operation is a Linear, or one of each expert, of the site.
bool belongs_to(const Node& node, const Site& site);

// Where experts read what their router reads, the fold is theirs: it scales the columns of them all. Nothing where the
// scale meets an operation that does not let it pass, a value or a weight that something else reads, too, or a head
// that is also the embedding.
std::optional<FoldSite> fold_of(const Graph& graph, const Site& site);

// Heads whose channels the rows of this weight or bias make, where rotary positions turn them; 0: none do.
std::uint64_t rotated_heads(const Graph& graph, std::string_view part);

// What goes into a drawing, and comes out of it, where whoever runs it keeps the states of sequences: keys and values
// that cross from one drawing to another are in the state of the first.
std::vector<ValueId> inputs_beside_states(const Graph& graph);
std::vector<ValueId> outputs_beside_states(const Graph& graph);

// Of all Linears (of the role linear): rows * cols.
std::uint64_t linear_parameters(const Graph& graph);

}  // namespace nibble
