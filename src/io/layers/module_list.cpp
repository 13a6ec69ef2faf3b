// SPDX-License-Identifier: Apache-2.0
#include "io/layers/module_list.h"

#include <algorithm>
#include <cctype>

#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kWeight = ".weight";

bool is_plain(std::string_view entry) {
  return std::ranges::all_of(entry, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
  });
}

// Whether the words of `part` stand side by side in `name`.
bool has_words(std::string_view name, std::string_view part) {
  if (part.empty()) return false;
  for (std::size_t at = name.find(part); at != std::string_view::npos; at = name.find(part, at + 1)) {
    const std::size_t end = at + part.size();
    if ((at == 0 || name[at - 1] == '.') && (end == name.size() || name[end] == '.')) return true;
  }
  return false;
}

// From the word before the first number on; empty: there is none.
std::string_view from_number(std::string_view part) {
  for (std::size_t begin = 0, before = 0; begin < part.size();) {
    const std::size_t end = std::min(part.find('.', begin), part.size());
    const std::string_view word = part.substr(begin, end - begin);
    if (begin != 0 && !word.empty() &&
        std::ranges::all_of(word, [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }))
      return part.substr(before);
    before = begin;
    begin = end + 1;
  }
  return {};
}

std::string expression_of(std::string_view glob) {
  std::string expression;
  for (const char c : glob) {
    if (c == '*' || c == '?')
      expression += c == '*' ? ".*" : ".";
    else if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_')
      expression += c;
    else
      (expression += '\\') += c;
  }
  return expression + '$';
}

}  // namespace

ModuleList::ModuleList(const LayerSettings& settings, std::string_view key, Spelling spelling) : key_(key) {
  const LayerSettings::Json* const list = settings.find(key);
  is_there_ = list != nullptr;
  if (!is_there_) return;
  if (!list->is_array()) settings.refuse(key, "a list of modules is meant");
  for (const LayerSettings::Json& item : *list) {
    if (!item.is_string()) settings.refuse(key, "a list of modules is meant");
    std::string_view entry = item.get_ref<const std::string&>();
    if (entry.ends_with(kWeight)) entry.remove_suffix(kWeight.size());
    while (entry.ends_with('.')) entry.remove_suffix(1);
    if (is_plain(entry)) {
      parts_.emplace_back(entry);
      continue;
    }
    try {
      patterns_.emplace_back(spelling == Spelling::globs ? expression_of(entry)
                                                         : "(?:" + std::string(entry) + ")(?=\\.|$)");
    } catch (const Error&) {
      // What is listed otherwise decides nothing: a layer's tensors say whether they are codes.
    }
  }
}

bool ModuleList::names(std::string_view module) const {
  return std::ranges::any_of(parts_, [&](const std::string& part) { return has_words(module, part); }) ||
         std::ranges::any_of(patterns_, [&](const ModulePattern& pattern) { return pattern.matches(module); });
}

bool ModuleList::may_name(std::string_view module) const {
  return names(module) ||
         std::ranges::any_of(parts_, [&](const std::string& part) { return has_words(module, from_number(part)); });
}

}  // namespace nibble
