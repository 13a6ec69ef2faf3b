// SPDX-License-Identifier: Apache-2.0
//
// The first stage of a method: what moves difficulty from one place to another before the grid is chosen, leaving the function of
// the model as it is. One file for each choice. `none` is the only one that needs no statistics.
#pragma once

#include <string_view>

namespace nibble {

struct Transform {
  std::string_view name;
  std::string_view description;
};

// Weights are taken as they are.
inline constexpr Transform kNoTransform{"none", "weights as they are"};

}  // namespace nibble
