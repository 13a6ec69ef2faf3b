// SPDX-License-Identifier: Apache-2.0
//
// Values as texts: Python's str() and repr(), and json.dumps(). Fault(limit) for what would be too long.
//
//   print(rendering, value)      // what {{ value }} writes
#pragma once

#include <optional>
#include <string>

#include "model/chat/rendering.h"

namespace nibble::chat {

// The shortest digits that give the number back, as Python spells them: 1.0, 1e-07, inf.
std::string print_real(double value);
std::string print(Rendering& rendering, const Value& value);
std::string represent(Rendering& rendering, const Value& value);

struct JsonStyle {
  bool is_ascii = false;
  std::optional<std::string> indent;  // of one level; none: all on one line
  std::string between = ", ";
  std::string after_key = ": ";
  bool is_sorted = false;
};
// Fault(value) for what JSON has no word for.
std::string print_json(Rendering& rendering, const Value& value, const JsonStyle& style);

}  // namespace nibble::chat
