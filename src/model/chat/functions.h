// SPDX-License-Identifier: Apache-2.0
//
// What templates can call by name: range, dict, namespace, cycler, joiner, raise_exception, strftime_now. One thread.
#pragma once

#include <string_view>

#include "model/chat/objects.h"
#include "model/chat/rendering.h"

namespace nibble::chat {

// Undefined if there is no such function.
Value find_function(Rendering& rendering, std::string_view name);
// Functions and joiners. Faults for values that they do not take, Fault(raised) of raise_exception.
Value call_function(Rendering& rendering, const Value& callee, const Arguments& arguments);
bool is_callable(const Value& value);

}  // namespace nibble::chat
