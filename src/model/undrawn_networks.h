// SPDX-License-Identifier: Apache-2.0
//
// Networks that are known by their name and that no family draws, with what keeps them from being run. Pure.
//
//   if (auto text = undrawn_network("Gemma3nForConditionalGeneration")) refuse(*text);
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nibble {

// name: a model_type, a class of "architectures" or a general.architecture. "Gemma 3n, which cannot be run: ...": a
// clause with its reason and what can be done all the same. Nothing: a name that is not known either.
std::optional<std::string> undrawn_network(std::string_view name);

}  // namespace nibble
