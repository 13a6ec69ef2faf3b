// SPDX-License-Identifier: Apache-2.0
//
// What can be called on texts, lists, dictionaries, loops and cyclers: text.strip(), dict.items(). One thread.
#pragma once

#include <string_view>

#include "model/chat/objects.h"
#include "model/chat/rendering.h"

namespace nibble::chat {

enum class MethodUse {
  none,     // there is no such method
  allowed,  // call_method() knows it
  refused,  // it would change the value
};
MethodUse find_method(const Value& self, std::string_view name);
// Faults for values that it does not take. Not loop(...), which renders.
Value call_method(Rendering& rendering, const Method& method, const Arguments& arguments);

}  // namespace nibble::chat
