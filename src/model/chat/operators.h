// SPDX-License-Identifier: Apache-2.0
//
// Python's operators on a template's values. Fault(value) where the types do not go together, Fault(undefined) for what
// is not there. One thread.
//
//   calculate(rendering, "+", a, b)
#pragma once

#include <string_view>
#include <vector>

#include "model/chat/rendering.h"

namespace nibble::chat {

// sign: + - * / // % **
Value calculate(Rendering& rendering, std::string_view sign, const Value& a, const Value& b);
Value negate(const Value& value, bool is_minus);
// sign: == != < <= > >= in, "not in"
bool compare(Rendering& rendering, std::string_view sign, const Value& a, const Value& b);
bool contains(Rendering& rendering, const Value& container, const Value& value);
// Less than, as sort() asks it.
bool is_less(Rendering& rendering, const Value& a, const Value& b);

// What "for" walks: characters, keys, items; of an iterator once.
std::vector<Value> iterate(Rendering& rendering, const Value& value);
// Fault(value) for what has no length.
std::int64_t length_of(const Value& value);

// Fault(undefined), with the story of the value, if it is undefined.
void expect_defined(const Value& value);

// value.name and value["name"]: what is not there is undefined.
Value get_attribute(Rendering& rendering, const Value& value, std::string_view name);
Value get_item(Rendering& rendering, const Value& value, const Value& key);
// value[begin:end:step], each of which may be None.
Value get_slice(Rendering& rendering, const Value& value, const Value& begin, const Value& end, const Value& step);

Value make_undefined(std::string message, bool is_refused = false);

}  // namespace nibble::chat
