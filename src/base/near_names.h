// SPDX-License-Identifier: Apache-2.0
//
// What somebody who mistyped a name may have meant.
//
//   NearNames near;
//   for (const auto& known : names) near.look_at("distil", known);
//   if (!near.list.empty()) message += "; did you mean " + near.list + "?";
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nibble {

// Letters to insert, delete or replace (Levenshtein).
std::size_t edit_distance(std::string_view a, std::string_view b);

// Those at the smallest distance, if that is small: "int4, int8".
struct NearNames {
  std::size_t distance = 3;
  std::string list;

  void look_at(std::string_view name, std::string_view known);
};

}  // namespace nibble
