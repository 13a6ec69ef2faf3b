// SPDX-License-Identifier: Apache-2.0
//
// What compressed-tensors' configuration says of layers: groups of them, each with the modules that it is for and how
// their weights and inputs are quantized. Internal to io/layers/. Immutable.
//
//   const CompressionGroups groups(settings);
//   const CompressionGroup* group = groups.find("model.layers.0.mlp.up_proj");
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/activation_format.h"
#include "format/planar/spec.h"
#include "io/layers/layer_settings.h"
#include "io/layers/module_list.h"
#include "io/layers/module_pattern.h"

namespace nibble {

// A module by its whole name, by an expression ("re:...") or by its class ("Linear").
class ModuleTarget {
 public:
  // key: of the setting that has it, for messages.
  ModuleTarget(std::string_view text, std::string_view key);
  enum class Match : std::uint8_t { name, expression, class_name, none };  // the nearest first
  Match match(std::string_view module) const;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::optional<ModulePattern> pattern_;
};

struct CompressionGroup {
  // What the tensors of a layer are: io/packing/{compressed_tensors,int8_rows,fp8,nvfp4,mxfp4}.h; dense: plain numbers.
  enum class Kind : std::uint8_t { dense, packed, int8, fp8, nvfp4, mxfp4, mxfp8 };

  std::string name, format;  // "group_0", "pack-quantized"
  std::vector<ModuleTarget> targets;
  Kind kind = Kind::dense;
  unsigned bits = 8;
  bool is_symmetric = true;
  PlanarGrain grain = PlanarGrain::row;
  std::uint32_t group = 0, block_rows = 0;  // columns of a group or block, rows of a block; 0: none

  bool rounds_inputs = false;
  std::optional<ActivationFormat> activations{};  // how, where that has a name here
};

class CompressionGroups {
 public:
  // Error(unsupported) names the key that asks for what is not read here.
  explicit CompressionGroups(const LayerSettings& settings);

  // The one that a layer is in: by its name before its class, of several expressions by the first in the alphabet;
  // where there is one group alone, that. Null: none.
  const CompressionGroup* find(std::string_view module) const;
  // The same without the last.
  const CompressionGroup* find_target(std::string_view module) const;
  // Targets that are none of these modules, a sentence each.
  std::vector<std::string> idle_notes(std::span<const std::string> modules) const;
  // Those that stay as they are.
  const ModuleList& ignored() const { return ignored_; }

  const std::vector<CompressionGroup>& all() const { return groups_; }

 private:
  std::vector<CompressionGroup> groups_;
  ModuleList ignored_;
};

}  // namespace nibble
