// SPDX-License-Identifier: Apache-2.0
//
// What crosses from one drawing of a network to later ones while a batch runs, beside the stream and the states of
// sequences. One thread at a time. Internal to engine/.
//
//   const CrossingValues::Places places = crossing.add(graph, layer);
//   crossing.begin_batch(tokens);
//   program.run(batch, weights, {crossing.given(x, places), ...}, workspace, machine);
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "graph/network.h"

namespace nibble {

class CrossingValues {
 public:
  // Of what a drawing's span_beside_states is given, and gives, behind the stream.
  struct Places {
    std::vector<std::size_t> given, wanted;
  };

  // In the order of the network; layer: Network::kBegin for its first drawing.
  Places add(const Graph& graph, std::int64_t layer);
  void begin_batch(std::size_t tokens);
  // The stream, and what crosses; valid until the next call or batch.
  std::span<float* const> given(float* stream, const Places& places) { return bind(stream, places.given, given_); }
  std::span<float* const> wanted(float* stream, const Places& places) { return bind(stream, places.wanted, wanted_); }
  std::uint64_t numbers_per_token() const noexcept;

 private:
  struct Value {
    std::uint64_t width = 0;
    std::vector<float> numbers;  // [tokens, width]
  };
  std::span<float* const> bind(float* stream, const std::vector<std::size_t>& places, std::vector<float*>& bound);

  std::map<std::string, std::size_t> place_of_;  // by name
  std::vector<Value> values_;
  std::vector<float*> given_, wanted_;
};

}  // namespace nibble
