// SPDX-License-Identifier: Apache-2.0
//
// Modules that settings list because they stay as they are: transformers' modules_to_not_convert (awq, fp8, mxfp4),
// bitsandbytes' llm_int8_skip_modules, ModelOpt's exclude_modules. Programs look for an entry at the begin, at the end
// or anywhere in a module's name; whole words between points are what they agree in. Internal to io/layers/.
// Immutable.
//
//   const ModuleList left(settings, "modules_to_not_convert");
//   left.names("model.layers.0.mlp.gate");        // true of "gate", "mlp.gate", "model.layers.*.mlp.gate"
//   left.names("model.layers.0.mlp.gate_proj");   // false of them
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/layers/layer_settings.h"
#include "io/layers/module_pattern.h"

namespace nibble {

class ModuleList {
 public:
  // globs: * and ? stand for any letters and one, and the whole name is meant; else entries are parts of names, or
  // Python's expressions for how a name begins, of which those that are not read name nothing.
  enum class Spelling { parts, globs };

  // Without the key there is no list. Error(unsupported): anything but a list of texts.
  ModuleList(const LayerSettings& settings, std::string_view key, Spelling spelling = Spelling::parts);

  const std::string& key() const { return key_; }
  bool is_there() const { return is_there_; }
  bool names(std::string_view module) const;
  // Whether it may be meant, too: by the same number and words behind it, whatever precedes them
  // ("language_model.model.layers.3.mlp" for "model.layers.3.mlp").
  bool may_name(std::string_view module) const;

 private:
  std::string key_;
  bool is_there_ = false;
  std::vector<std::string> parts_;
  std::vector<ModulePattern> patterns_;
};

}  // namespace nibble
