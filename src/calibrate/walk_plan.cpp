// SPDX-License-Identifier: Apache-2.0
#include "calibrate/walk_plan.h"

#include <algorithm>
#include <set>

namespace nibble {
namespace {

using Values = std::set<ValueId>;

bool has(const std::vector<ValueId>& values, ValueId value) { return std::ranges::find(values, value) != values.end(); }

// What can be computed once the Linears of the first `passed` sites are there.
Values computable(const DrawnGraph& drawing, std::size_t passed) {
  Values made(drawing.graph.inputs.begin(), drawing.graph.inputs.end());
  for (const Node& node : drawing.graph.nodes) {
    const auto site = std::ranges::find_if(drawing.sites, [&](const Site& s) { return belongs_to(node, s); });
    if (site != drawing.sites.end() && site - drawing.sites.begin() >= static_cast<std::ptrdiff_t>(passed)) continue;
    if (std::ranges::all_of(node.inputs, [&](ValueId input) { return made.contains(input); })) made.insert(node.output);
  }
  return made;
}

// Sums are streams; attention, and what recurs, take all tokens of a window at once; where tokens are sent takes little
// room; what leaves the drawing is wanted as it is.
bool is_worth_keeping(const Graph& graph, ValueId value) {
  const Node* const node = graph.producer(value);
  return node == nullptr || has(graph.outputs, value) || std::holds_alternative<Add>(node->operation) ||
         std::holds_alternative<Attention>(node->operation) ||
         std::holds_alternative<LatentAttention>(node->operation) ||
         std::holds_alternative<GatedDeltaRule>(node->operation) || std::holds_alternative<Route>(node->operation);
}

void add_roots(const Graph& graph, ValueId value, Values& roots) {
  if (is_worth_keeping(graph, value)) {
    roots.insert(value);
    return;
  }
  for (const ValueId input : graph.producer(value)->inputs) add_roots(graph, input, roots);
}

// What has to be kept behind the first `passed` sites so that all that follows can be computed.
std::vector<ValueId> kept_behind(const DrawnGraph& drawing, std::size_t passed) {
  const Graph& graph = drawing.graph;
  const Values made = computable(drawing, passed);
  Values roots;
  for (const ValueId value : made) {
    bool is_read = has(graph.outputs, value);
    for (const Node* const reader : graph.consumers(value)) is_read = is_read || !made.contains(reader->output);
    if (is_read) add_roots(graph, value, roots);
  }
  return {roots.begin(), roots.end()};
}

SitePlan plan_site(const DrawnGraph& drawing, std::size_t index, RotaryTables& rotary) {
  const Graph& graph = drawing.graph;
  const ValueId input = drawing.sites[index].input;
  const std::vector<ValueId> kept = kept_behind(drawing, index), next = kept_behind(drawing, index + 1);
  std::vector<ValueId> made, staying, given = kept;
  for (const ValueId value : next) (has(kept, value) ? staying : made).push_back(value);
  const bool is_kept = has(kept, input);
  staying.push_back(input);
  for (const Crossing& crossing : graph.received)  // which other layers may read, too
    if (has(kept, crossing.value) && !has(staying, crossing.value)) staying.push_back(crossing.value);
  if (!is_kept) given.push_back(input);
  Program inputs(
      graph, {.given = kept, .wanted = is_kept ? std::vector<ValueId>{} : std::vector<ValueId>{input}, .kept = kept},
      rotary);
  const bool has_products = !inputs.linears().empty();
  return {kept,    std::move(inputs),
          is_kept, has_products,
          made,    Program(graph, {.given = given, .wanted = made, .kept = staying}, rotary)};
}

}  // namespace

WalkPlan::WalkPlan(const DrawnGraph& drawing, RotaryTables& rotary) {
  const Graph& graph = drawing.graph;
  store_of[graph.inputs.front()] = 0;
  widths.push_back(graph.width(graph.inputs.front()));
  for (std::size_t i = 0; i < drawing.sites.size(); ++i) {
    const SitePlan& plan = sites.emplace_back(plan_site(drawing, i, rotary));
    const std::vector<ValueId> next = kept_behind(drawing, i + 1);
    for (std::size_t m = 0; m < plan.made.size(); ++m) {
      const ValueId value = plan.made[m];
      if (graph.is_passed(value)) {
        require_drawable(!plan.leave.place_of(m), "pass_on", "what is made in another value's place");
        continue;
      }
      if (const auto place = plan.leave.place_of(m)) {
        store_of[value] = store_of.at(plan.kept[*place]);
        continue;
      }
      // A store of this width whose value is read no longer, neither by what is made here nor later; else a new one.
      std::size_t store = 0;
      const auto is_taken = [&](ValueId other) { return store_of.contains(other) && store_of.at(other) == store; };
      while (store < widths.size() && (widths[store] != graph.width(value) ||
                                       std::ranges::any_of(plan.kept, is_taken) || std::ranges::any_of(next, is_taken)))
        ++store;
      if (store == widths.size()) widths.push_back(graph.width(value));
      store_of[value] = store;
    }
  }
}

}  // namespace nibble
