// SPDX-License-Identifier: Apache-2.0
#include "engine/rotary_tables.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace nibble {

std::size_t RotaryTables::add(const Rope& rope) {
  Rope turns = rope;
  turns.head_dim = 0;
  turns.half_split = true;
  const auto known = std::ranges::find(tables_, turns, &Table::rope);
  if (known != tables_.end()) return static_cast<std::size_t>(known - tables_.begin());
  tables_.push_back({std::move(turns), {}, {}});
  return tables_.size() - 1;
}

void RotaryTables::fill(std::size_t row, std::size_t tokens, std::size_t position, std::size_t length) {
  for (Table& table : tables_) {
    const Rope& rope = table.rope;
    const std::vector<double>& frequencies =
        !rope.long_frequencies.empty() && length > rope.short_length ? rope.long_frequencies : rope.frequencies;
    const std::size_t pairs = frequencies.size();
    for (std::vector<float>* const values : {&table.cosine, &table.sine})
      if (values->size() < (row + tokens) * pairs) values->resize((row + tokens) * pairs);
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t i = 0; i < pairs; ++i) {
        const double angle = static_cast<double>(position + t) * frequencies[i],
                     size = static_cast<double>(rope.magnitude);
        table.cosine[(row + t) * pairs + i] = static_cast<float>(std::cos(angle) * size);
        table.sine[(row + t) * pairs + i] = static_cast<float>(std::sin(angle) * size);
      }
  }
}

}  // namespace nibble
