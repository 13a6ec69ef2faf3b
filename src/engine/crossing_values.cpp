// SPDX-License-Identifier: Apache-2.0
#include "engine/crossing_values.h"

#include <algorithm>

namespace nibble {

CrossingValues::Places CrossingValues::add(const Graph& graph, std::int64_t layer) {
  const auto places = [&](const std::vector<ValueId>& values, const std::vector<Crossing>& crossings) {
    std::vector<std::size_t> found;
    for (const ValueId value : values) {
      const auto crossing = std::ranges::find(crossings, value, &Crossing::value);
      if (crossing == crossings.end()) continue;
      const auto [place, is_new] = place_of_.emplace(Network::name_of(*crossing, layer), values_.size());
      if (is_new) values_.push_back({graph.width(value), {}});
      found.push_back(place->second);
    }
    return found;
  };
  return {places(inputs_beside_states(graph), graph.received), places(outputs_beside_states(graph), graph.passed)};
}

void CrossingValues::begin_batch(std::size_t tokens) {
  for (Value& value : values_) value.numbers.resize(std::max<std::size_t>(value.numbers.size(), tokens * value.width));
}

std::uint64_t CrossingValues::numbers_per_token() const noexcept {
  std::uint64_t numbers = 0;
  for (const Value& value : values_) numbers += value.width;
  return numbers;
}

std::span<float* const> CrossingValues::bind(float* stream, const std::vector<std::size_t>& places,
                                             std::vector<float*>& bound) {
  bound.assign(1, stream);
  for (const std::size_t place : places) bound.push_back(values_[place].numbers.data());
  return bound;
}

}  // namespace nibble
