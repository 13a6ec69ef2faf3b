// SPDX-License-Identifier: Apache-2.0
//
// The methods of texts, as Python's str has them. One thread.
#pragma once

#include <string_view>

#include "model/chat/objects.h"
#include "model/chat/rendering.h"

namespace nibble::chat {

bool is_text_method(std::string_view name);
// method.self is a text and its name a method of texts. Faults for values that it does not take.
Value call_on_text(Rendering& rendering, const Method& method, const Arguments& arguments);

}  // namespace nibble::chat
