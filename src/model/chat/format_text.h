// SPDX-License-Identifier: Apache-2.0
//
// Python's two ways to put values into a text: "%s is %d" % values, and "{} is {x:>4}".format(values). Fault(value) for
// what does not fit. One thread.
#pragma once

#include <string>
#include <string_view>

#include "model/chat/objects.h"
#include "model/chat/rendering.h"

namespace nibble::chat {

// values: a tuple of them, a dict for %(name)s, or one value.
std::string format_percent(Rendering& rendering, std::string_view pattern, const Value& values);
std::string format_braces(Rendering& rendering, std::string_view pattern, const Arguments& values);

}  // namespace nibble::chat
