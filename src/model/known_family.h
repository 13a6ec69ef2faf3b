// SPDX-License-Identifier: Apache-2.0
//
// Whether a checkpoint's network is one that a family of ours draws. Pure functions.
//
//   if (!has_known_family(checkpoint)) treat_as_matrices(checkpoint);
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "io/checkpoint.h"
#include "model/arch/architecture.h"

namespace nibble {

struct KnownFamily {
  const Architecture* architecture;
  const HfVariant* variant;  // of config.json
  bool is_wrapped = false;   // the text part of a model that reads pictures: text_config describes it

  std::string_view class_name() const { return is_wrapped ? variant->wrapper_class : variant->class_name; }
  bool is_class(std::string_view name) const {
    return name == class_name() || (!is_wrapped && !name.empty() && name == variant->other_class_name);
  }
};

// By model_type, or where that is empty by the class that "architectures" names. text_type: the model_type of
// text_config, which tells apart the text parts that one wrapper may have; where none of them has it, or it is empty,
// the first. Nothing: no family has it.
std::optional<KnownFamily> find_family_of_type(std::string_view model_type, std::string_view class_name,
                                               std::string_view text_type = {});

// False: config.json or general.architecture names a network of no family (an encoder, a vision tower, a newer
// decoder), another class of a known type (a classifier), or there is no configuration at all. Errors: corrupt.
bool has_known_family(const Checkpoint& checkpoint);

// Whether config.json describes a model that reads pictures, too, of which a family draws the text part.
bool is_text_part(const Checkpoint& checkpoint);

// Whether config.json is of a class that has its own words for what all say. config: an object.
bool has_own_keys(const nlohmann::ordered_json& config);

// config.json of a wrapped model's text part alone, in the words of its own class; of any other model as it is.
// config: an object that is known to be sound.
nlohmann::ordered_json text_part_config(const nlohmann::ordered_json& config);

}  // namespace nibble
