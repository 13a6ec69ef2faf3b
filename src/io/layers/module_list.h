// SPDX-License-Identifier: Apache-2.0
//
// Modules that settings list because they stay as they are: transformers' modules_to_not_convert (awq, fp8, mxfp4,
// bitnet), bitsandbytes' llm_int8_skip_modules, ModelOpt's exclude_modules, compressed-tensors' ignore. Programs look
// for an entry at the begin, at the end or anywhere in a module's name, and know modules by other names than tensors
// have: what all of them agree in is named, what only some would take for meant is perhaps. Internal to io/layers/.
// Immutable.
//
//   const ModuleList left(settings, "modules_to_not_convert");
//   left.match("model.layers.0.mlp.gate");        // named by "gate", "mlp.gate", "model.layers.*.mlp.gate"
//   left.match("model.layers.0.mlp.gate_proj");   // perhaps by them
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/layers/layer_settings.h"
#include "io/layers/module_pattern.h"

namespace nibble {

class ModuleList {
 public:
  // What entries are. parts: whole words anywhere in a name, or Python's expressions for how a name begins.
  // globs: whole names, in which * and ? stand for any letters and one. targets: whole names, or behind "re:" Python's
  // expressions. One that is not read names nothing, and may mean any module.
  enum class Spelling : std::uint8_t { parts, globs, targets };
  enum class Match : std::uint8_t { none, perhaps, named };

  // Without the key there is no list. Error(unsupported): anything but a list of texts.
  ModuleList(const LayerSettings& settings, std::string_view key, Spelling spelling = Spelling::parts);

  const std::string& key() const { return key_; }
  bool is_there() const { return is_there_; }
  // perhaps: an entry is a part of the name that ends within a word, or is one but for words that precede its first
  // number ("language_model.model.layers.3.mlp" for "model.layers.3.mlp") or the module's.
  // Error(unsupported) where following an expression takes too long.
  Match match(std::string_view module) const;

 private:
  struct Expressions {
    ModulePattern named, perhaps;  // what the one matches, the other does
  };

  void add(std::string_view entry, Spelling spelling);

  std::string key_;
  bool is_there_ = false, is_whole_ = false, has_unread_ = false;  // whole: plain entries are whole names
  std::vector<std::string> plain_;
  std::vector<Expressions> expressions_;
};

}  // namespace nibble
