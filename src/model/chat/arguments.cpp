// SPDX-License-Identifier: Apache-2.0
#include "model/chat/arguments.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/chat/rendering.h"

namespace nibble::chat {

Bound::Bound(const Arguments& arguments, std::string_view callee, std::initializer_list<std::string_view> names,
             std::size_t required)
    : callee_(callee), names_(names), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names_.size())
    fail_value(fmt::format("{} takes at most {} values, not {}", callee, names_.size(), arguments.positional.size()));
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto place = std::find(names_.begin(), names_.end(), name);
    if (place == names_.end()) fail_value(fmt::format("{} has no parameter '{}'", callee, name));
    const Value*& slot = values_[static_cast<std::size_t>(place - names_.begin())];
    if (slot) fail_value(fmt::format("{} is given '{}' a second time", callee, name));
    slot = &value;
  }
  for (std::size_t i = 0; i < required; ++i)
    if (!values_[i]) fail_value(fmt::format("{} needs a value for '{}'", callee, names_[i]));
}

void Bound::fail_type(std::size_t i, std::string_view wanted) const {
  fail_value(fmt::format("{} wants {} as '{}', not {}", callee_, wanted, names_[i], values_[i]->type_name()));
}

std::int64_t Bound::whole(std::size_t i, std::int64_t otherwise) const {
  if (!is_given(i)) return otherwise;
  const auto value = values_[i]->whole();
  if (!value) fail_type(i, "a whole number");
  return *value;
}

bool Bound::truth(std::size_t i, bool otherwise) const { return values_[i] ? is_true(*values_[i]) : otherwise; }

std::string_view Bound::text(std::size_t i, std::string_view otherwise) const {
  if (!is_given(i)) return otherwise;
  const Text* value = values_[i]->text();
  if (!value) fail_type(i, "a text");
  return value->bytes;
}

void pay_for_texts(Rendering& rendering, const Arguments& arguments) {
  const auto pay = [&](const Value& value) {
    if (const Text* text = value.text()) rendering.step(text->bytes.size() / 64);
  };
  for (const Value& value : arguments.positional) pay(value);
  for (const auto& [name, value] : arguments.named) pay(value);
}

}  // namespace nibble::chat
