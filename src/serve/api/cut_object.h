// SPDX-License-Identifier: Apache-2.0
//
// Arguments of a call that a limit has cut. Pure.
//
//   whole_part_of(R"({"city": "Paris", "days": [1, 2)")   // {"city": "Paris", "days": [1]}
#pragma once

#include <string_view>

#include "serve/api/api_error.h"

namespace nibble::serve {

// The object that a text is, or of one that was cut the members that are whole: a number or a word at its end may have
// been longer, and a text without its end is none. An empty object where the text is not the beginning of one.
Json whole_part_of(std::string_view text);

}  // namespace nibble::serve
