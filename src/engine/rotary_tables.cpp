// SPDX-License-Identifier: Apache-2.0
#include "engine/rotary_tables.h"

#include <algorithm>
#include <cmath>

namespace nibble {

std::size_t RotaryTables::add(const std::vector<double>& frequencies) {
  const auto known = std::ranges::find(tables_, frequencies, &Table::frequencies);
  if (known != tables_.end()) return static_cast<std::size_t>(known - tables_.begin());
  tables_.push_back({frequencies, {}, {}});
  return tables_.size() - 1;
}

void RotaryTables::fill(std::size_t row, std::size_t tokens, std::size_t position) {
  for (Table& table : tables_) {
    const std::size_t pairs = table.frequencies.size();
    for (std::vector<float>* const values : {&table.cosine, &table.sine})
      if (values->size() < (row + tokens) * pairs) values->resize((row + tokens) * pairs);
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t i = 0; i < pairs; ++i) {
        const double angle = static_cast<double>(position + t) * table.frequencies[i];
        table.cosine[(row + t) * pairs + i] = static_cast<float>(std::cos(angle));
        table.sine[(row + t) * pairs + i] = static_cast<float>(std::sin(angle));
      }
  }
}

}  // namespace nibble
