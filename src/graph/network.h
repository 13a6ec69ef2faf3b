// SPDX-License-Identifier: Apache-2.0
//
// A decoder as its family draws it: tokens become a stream, layers change it, its end becomes logits. Layers that are
// alike share one drawing. Beside the stream, values cross from drawings to layers behind them by name. Immutable, safe
// to share between threads.
//
//   const DrawnGraph& layer = network.layer(3);
//   for (const Site& site : layer.sites) observe(site);
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/facts.h"
#include "graph/graph.h"

namespace nibble {

// A drawing and what follows from it.
struct DrawnGraph {
  explicit DrawnGraph(Graph drawn);
  // Null: there is no such site.
  const Site* find_site(std::string_view name) const;

  Graph graph;
  std::vector<Site> sites;                     // in the order in which text meets them
  std::vector<std::optional<FoldSite>> folds;  // by site
};

class Network {
 public:
  static constexpr std::int64_t kBegin = -1;  // the first drawing's place before the layers

  // begin: -> the stream [tokens, hidden]; each of layers: the stream -> the stream; end: the stream -> logits [tokens,
  // vocabulary]. Error(internal): a layer receives what no drawing before it passes on.
  Network(Graph begin, std::vector<Graph> layers, Graph end);

  const DrawnGraph& begin() const noexcept { return begin_; }
  const DrawnGraph& end() const noexcept { return end_; }
  std::int64_t num_layers() const noexcept { return static_cast<std::int64_t>(layers_.size()); }
  const DrawnGraph& layer(std::int64_t index) const { return *layers_[static_cast<std::size_t>(index)]; }

  std::uint64_t linear_parameters() const;  // of all layers, the head not counted

  // The name that a crossing of a drawing has in the network: kBegin's as it is drawn.
  static std::string name_of(const Crossing& crossing, std::int64_t layer);
  // What a sequence keeps, in the order of the layers, the keys and values that several layers read once; and the
  // places among these of a layer's own states, in its drawing's order.
  const std::vector<KeyValueState>& states() const noexcept { return states_; }
  const std::vector<RecurrentState>& recurrent_states() const noexcept { return recurrent_; }
  const std::vector<std::size_t>& states_of(std::int64_t layer) const {
    return state_places_[static_cast<std::size_t>(layer)];
  }

 private:
  void add_states(std::int64_t layer, std::map<std::string, std::size_t>& state_of_keys);

  DrawnGraph begin_, end_;
  std::vector<std::shared_ptr<const DrawnGraph>> layers_;
  std::vector<KeyValueState> states_;
  std::vector<RecurrentState> recurrent_;
  std::vector<std::vector<std::size_t>> state_places_;  // by layer
};

}  // namespace nibble
