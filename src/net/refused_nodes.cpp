// SPDX-License-Identifier: Apache-2.0
#include "net/refused_nodes.h"

#include <fmt/format.h>

#include <algorithm>

namespace nibble {

std::string RefusedNodes::text() const {
  constexpr std::size_t kShown = 6;
  std::string text;
  for (const auto& [what, names] : names_) {
    text += fmt::format("{}{} (", text.empty() ? "" : "; ", what);
    for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i) text += (i == 0 ? "" : ", ") + names[i];
    if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
    text += ")";
  }
  return text;
}

}  // namespace nibble
