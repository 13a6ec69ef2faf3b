// SPDX-License-Identifier: Apache-2.0
//
// The number that a GSM8K answer ends in, found as lm-evaluation-harness finds it. All come without "$", "," and a
// point at the end; empty when there is none.
//
//   bool right = strict_number(made) == wanted_number("3 + 4 = 7\n#### 7");
#pragma once

#include <string>
#include <string_view>

namespace nibble {

std::string wanted_number(std::string_view solution);  // all that follows the last "#### " of the right answer
std::string strict_number(std::string_view text);      // the first number after a "#### "
std::string last_number(std::string_view text);        // the last one anywhere

}  // namespace nibble
