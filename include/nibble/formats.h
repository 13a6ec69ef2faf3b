// SPDX-License-Identifier: Apache-2.0
//
// What numbers can be stored as.
//
//   for (const nibble::FormatDescription& f : nibble::list_format_descriptions()) std::cout << f.name << ' ' <<
//   f.bits_per_weight << '\n';
#pragma once

#include <string>
#include <vector>

namespace nibble {

enum class FormatGroup { raw, block, planar, mix };

struct FormatDescription {
  std::string name;         // what quantize() takes
  std::string description;  // one line
  FormatGroup group = FormatGroup::raw;
  double bits_per_weight = 0;  // grids counted; 0 for mixes, whose bits depend on the model
};

// Every format and every mix, in the order in which help shows them. Planar families have more members than are listed:
// any group size ("int4:g64"), symmetric or not (":asym").
std::vector<FormatDescription> list_format_descriptions();

}  // namespace nibble
