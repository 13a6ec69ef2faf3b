// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "base/utf8.h"
#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

bool is_ascii(std::string_view text) noexcept {
  for (const char c : text)
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  return true;
}

std::string apply(const ToForm& step, std::string text) {
  if (is_ascii(text)) return text;
  int options = UTF8PROC_STABLE;
  switch (step.form) {
    case UnicodeForm::nfc:
      options |= UTF8PROC_COMPOSE;
      break;
    case UnicodeForm::nfd:
      options |= UTF8PROC_DECOMPOSE;
      break;
    case UnicodeForm::nfkc:
      options |= UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
      break;
    case UnicodeForm::nfkd:
      options |= UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
      break;
  }
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &mapped, static_cast<utf8proc_option_t>(options));
  if (size < 0) throw Error(ErrorKind::internal, std::string("Unicode normalisation failed: ") + utf8proc_errmsg(size));
  std::string out(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size));
  std::free(mapped);
  return out;
}

std::string apply(const Lowercase&, std::string text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const char32_t character = next_code_point(text, at);
    if (character == 0x130) {
      out += "i\xCC\x87";  // the one letter whose small form is two characters
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(character))));
    }
  }
  return out;
}

std::string apply(const StripAccents&, std::string text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t character = next_code_point(text, at);
    const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(character));
    const bool is_mark =
        category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
    if (!is_mark) out.append(text, begin, at - begin);
  }
  return out;
}

std::string apply(const Prepend& step, std::string text) { return text.empty() ? text : step.text + text; }

std::string apply(const Replace& step, std::string text) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  std::size_t copied = 0;
  PatternScan scan(step.pattern);
  scan.each(text, [&](std::size_t begin, std::size_t end) {
    out.append(text, copied, begin - copied);
    out += step.content;
    copied = end;
  });
  out.append(text, copied);
  return out;
}

// Unicode White_Space.
bool is_space(char32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::string apply(const StripSpaces& step, std::string text) {
  std::size_t first = text.size();  // of the first character that stays
  std::size_t last = 0;             // behind the last one
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (is_space(next_code_point(text, at))) continue;
    if (first == text.size()) first = begin;
    last = at;
  }
  if (!step.left) first = 0;
  if (!step.right) last = text.size();
  return first < last ? text.substr(first, last - first) : std::string();
}

std::string apply(const ApplyCharsMap& step, std::string text) { return step.map->apply(text); }

std::string apply(const SentencePieceSpaces& step, std::string text) {
  std::string_view rest = text;
  if (step.remove_extra) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    rest = rest.substr(0, rest.find_last_not_of(' ') + 1);
  }
  if (rest.empty()) return {};
  const std::string_view space = step.escape ? kVisibleSpace : " ";
  std::string out;
  out.reserve(rest.size() + rest.size() / 2 + space.size());
  if (step.add_prefix) out += space;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] != ' ') {
      out.push_back(rest[i]);
    } else if (!(step.remove_extra && rest[i - 1] == ' ')) {  // with remove_extra the first is no space
      out += space;
    }
  }
  // A visible space that the text itself ends with goes as well.
  while (step.remove_extra && out.ends_with(space)) out.resize(out.size() - space.size());
  return out;
}

}  // namespace

std::string normalize(const Normalizer& steps, std::string text) {
  for (const NormalizerStep& step : steps)
    text = std::visit([&](const auto& s) { return apply(s, std::move(text)); }, step);
  return text;
}

}  // namespace nibble::tokenizing
