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

struct Range {
  char32_t first, last;
};

template <std::size_t N>
bool is_in(const Range (&ranges)[N], char32_t c) noexcept {
  const Range* range = std::upper_bound(ranges, ranges + N, c, [](char32_t x, const Range& r) { return x < r.first; });
  return range != ranges && c <= range[-1].last;
}

// Ranges in which every character is in form NFC, whatever stands beside it.
constexpr Range kComposed[] = {{0, 0x2FF},       {0x388, 0x482},   {0x5D0, 0x5EA},     {0x621, 0x64A},
                               {0xE01, 0xE37},   {0x2010, 0x2027}, {0x2030, 0x205E},   {0x3001, 0x3029},
                               {0x3041, 0x3096}, {0x30A1, 0x30FF}, {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},
                               {0xAC00, 0xD7A3}, {0xFF01, 0xFF9D}, {0x1F300, 0x1F64F}, {0x20000, 0x2A6DF}};

// Characters later than Unicode 9 that decompose, combine or are reordered. The package that models' texts were
// normalised with goes by Unicode 9, where they are unassigned and stay as they are (tools/compare_tokenizers.py).
constexpr Range kLater[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xA82C, 0xA82C},   {0xAB69, 0xAB69},   {0x10781, 0x10785},
    {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF},
    {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
    {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E030, 0x1E06D},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
    {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};

void append_form(UnicodeForm form, std::string_view text, std::string& out) {
  if (text.empty()) return;
  int options = UTF8PROC_STABLE;
  switch (form) {
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
  out.append(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size));
  std::free(mapped);
}

std::string apply(const ToForm& step, std::string text) {
  if (is_ascii(text)) return text;
  std::string out;
  std::size_t done = 0;  // what stands before is in `out`
  bool is_composed = step.form == UnicodeForm::nfc;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t c = next_code_point(text, at);
    if (c < 0x300) continue;
    is_composed = is_composed && is_in(kComposed, c);
    if (!is_in(kLater, c)) continue;
    append_form(step.form, std::string_view(text).substr(done, begin - done), out);
    out.append(text, begin, at - begin);
    done = at;
  }
  if (is_composed) return text;
  append_form(step.form, std::string_view(text).substr(done), out);
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

std::string apply(const ApplyCharsMap& step, std::string text) {
  return step.by_grapheme ? step.map->apply_by_grapheme(text) : step.map->apply(text);
}

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
