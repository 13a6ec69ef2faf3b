// SPDX-License-Identifier: Apache-2.0
#include "io/layers/layer_scheme.h"

#include <algorithm>

#include "format/planar/format.h"

namespace nibble {

LayerScheme::Said said_by(const ModuleList& left, std::string_view layer) {
  if (!left.is_there()) return LayerScheme::Said::nothing;
  switch (left.match(layer)) {
    case ModuleList::Match::named:
      return LayerScheme::Said::has_none;
    case ModuleList::Match::perhaps:
      return LayerScheme::Said::nothing;
    case ModuleList::Match::none:
      break;
  }
  return LayerScheme::Said::has_codes;
}

bool has_zero_points(const LayerWeight& weight) {
  const PlanarSpec* const spec = find_planar_spec(*weight.values.format());
  return spec != nullptr && spec->is_asymmetric;
}

bool has_ending(const StoredTensor& tensor, std::initializer_list<std::string_view> endings) {
  return std::ranges::any_of(endings, [&](std::string_view ending) { return tensor.name.ends_with(ending); });
}

std::string group_text(std::uint32_t group) { return "group_size " + (group == 0 ? "-1" : std::to_string(group)); }

}  // namespace nibble
