// SPDX-License-Identifier: Apache-2.0
//
// Jinja's filters and tests, with transformers' tojson: value|name(...), value is name(...). One thread for one
// rendering.
//
//   if (const Filter filter = find_filter("trim")) value = filter(rendering, value, {});
#pragma once

#include <functional>
#include <string_view>

#include "model/chat/objects.h"
#include "model/chat/rendering.h"

namespace nibble::chat {

using Filter = Value (*)(Rendering&, const Value&, const Arguments&);
using Test = bool (*)(Rendering&, const Value&, const Arguments&);

Filter find_filter(std::string_view name);  // null: nobody knows it
Test find_test(std::string_view name);

// The same by a name that must be known. Fault(unsupported).
Value apply_filter(Rendering& rendering, std::string_view name, const Value& value, const Arguments& arguments);
bool apply_test(Rendering& rendering, std::string_view name, const Value& value, const Arguments& arguments);

// The two halves of the list.
Filter find_text_filter(std::string_view name);
Filter find_item_filter(std::string_view name);

}  // namespace nibble::chat
