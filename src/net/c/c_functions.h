// SPDX-License-Identifier: Apache-2.0
//
// The functions that C of a net is made of, as text. Plain values.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace nibble {

// Those that are used, and those that they use, in an order in which each stands behind what it calls.
class CFunctions {
 public:
  void use(std::string_view name);
  bool uses(std::string_view name) const { return used_.contains(name); }
  std::string text() const;

 private:
  std::set<std::string_view> used_;
};

}  // namespace nibble
