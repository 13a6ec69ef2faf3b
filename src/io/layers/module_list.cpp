// SPDX-License-Identifier: Apache-2.0
#include "io/layers/module_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kWeight = ".weight", kExpression = "re:", kWordEnds = "(?=\\.|$)";

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

// From the word before the first number on; all of it where there is none.
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
  return part;
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
  return expression;
}

}  // namespace

ModuleList::ModuleList(const LayerSettings& settings, std::string_view key, Spelling spelling)
    : key_(key), is_whole_(spelling != Spelling::parts) {
  const LayerSettings::Json* const list = settings.find(key);
  is_there_ = list != nullptr;
  if (!is_there_) return;
  if (!list->is_array()) settings.refuse(key, "a list of modules is meant");
  for (const LayerSettings::Json& item : *list) {
    if (!item.is_string()) settings.refuse(key, "a list of modules is meant");
    add(item.get_ref<const std::string&>(), spelling);
  }
}

void ModuleList::add(std::string_view entry, Spelling spelling) {
  const bool is_expression = spelling == Spelling::targets && entry.starts_with(kExpression);
  if (is_expression) {
    entry.remove_prefix(kExpression.size());
  } else {
    if (entry.ends_with(kWeight)) entry.remove_suffix(kWeight.size());
    while (entry.ends_with('.')) entry.remove_suffix(1);
    if (entry.empty()) return;
    if (spelling == Spelling::targets || is_plain(entry)) {
      plain_.emplace_back(entry);
      return;
    }
  }
  std::string named(entry), perhaps(entry);
  if (spelling == Spelling::globs) {
    named = expression_of(entry) + '$';
    perhaps = fmt::format("(?:{}){}", expression_of(from_number(entry)), kWordEnds);
  }
  if (spelling == Spelling::parts) named = fmt::format("(?:{}){}", entry, kWordEnds);
  try {
    expressions_.push_back({ModulePattern(named, key_), ModulePattern(perhaps, key_)});
  } catch (const Error&) {
    has_unread_ = true;
  }
}

ModuleList::Match ModuleList::match(std::string_view module) const {
  Match best = has_unread_ ? Match::perhaps : Match::none;
  for (const std::string& entry : plain_) {
    if (is_whole_ ? module == entry : has_words(module, entry)) return Match::named;
    if (module.find(from_number(entry)) != std::string_view::npos) best = Match::perhaps;
  }
  for (const auto& [named, perhaps] : expressions_) {
    if (!perhaps.matches(module, ModulePattern::Begin::word)) continue;
    if (named.matches(module)) return Match::named;
    best = Match::perhaps;
  }
  return best;
}

}  // namespace nibble
