// SPDX-License-Identifier: Apache-2.0
//
// What a command line means by integers of two and three bits that say nothing of zeros and signs: the points that lose
// least on the two small models of docs/methods.md. Files and recipes hold what comes of it, never the shorthand.
//
//   resolve_shorthand("int2:g64", true);        // "int2:g64:half"
//   resolve_shorthand("int2:g64:sym", true);    // "int2:g64": -2 .. 1, as it is spelled
#pragma once

#include <string>
#include <string_view>

namespace nibble {

// int2 becomes half integers, or, where halves cannot be held, integers with signed scales, as int3 does. What follows
// a plus stays, and so does every other spelling.
std::string resolve_shorthand(std::string_view spelling, bool holds_halves);

}  // namespace nibble
