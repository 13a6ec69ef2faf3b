// SPDX-License-Identifier: Apache-2.0
//
// What a tokenizer looks for in text: a literal, or a regular expression as tokenizer.json spells it (Oniguruma, Ruby
// syntax), run by PCRE2 after the few differences are translated: white space and word characters by Unicode's
// definition, \h for hex digits, ^ and $ at every line. Immutable, safe from many threads; each thread scans with a
// PatternScan of its own.
//
//   const Pattern words = Pattern::regex("\\p{L}+", "tokenizer.json: pre_tokenizer");
//   PatternScan scan(words);
//   scan.each(text, [&](std::size_t begin, std::size_t end) { ... });
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace nibble::tokenizing {

class Pattern {
 public:
  static Pattern literal(std::string text);
  // `place` names file and field. Error(unsupported): a construct that PCRE2 has no equal for, or a syntax error, with
  // its offset.
  static Pattern regex(std::string text, const std::string& place);

  const std::string& text() const noexcept { return text_; }  // as it was given
  bool is_literal() const noexcept { return code_ == nullptr; }

 private:
  friend class PatternScan;
  Pattern() = default;
  std::string text_;
  std::string place_;
  std::shared_ptr<const pcre2_real_code_8> code_;
  bool has_machine_code_ = false;  // pcre2_jit_match may run it
};

class PatternScan {
 public:
  explicit PatternScan(const Pattern& pattern);
  ~PatternScan();
  PatternScan(const PatternScan&) = delete;
  PatternScan& operator=(const PatternScan&) = delete;

  // Calls found(begin, end) for every match from left to right, empty ones included. `subject` must be well-formed
  // UTF-8. Error(resource): the expression backtracks beyond the match limit on this text.
  template <class Found>
  void each(std::string_view subject, Found&& found) {
    std::size_t from = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
    while (from <= subject.size() && next(subject, from, begin, end)) {
      found(begin, end);
      from = end > begin ? end : after_character(subject, end);
    }
  }

 private:
  bool next(std::string_view subject, std::size_t from, std::size_t& begin, std::size_t& end);
  int match(std::string_view subject, std::size_t from);
  static std::size_t after_character(std::string_view subject, std::size_t at) noexcept;

  const Pattern& pattern_;
  pcre2_real_match_data_8* data_ = nullptr;
  pcre2_real_match_context_8* context_ = nullptr;
  pcre2_real_jit_stack_8* stack_ = nullptr;
};

// Whether a Unicode script has this name, as \p{...} spells it.
bool is_script(std::string_view name);

// The PCRE2 spelling of an Oniguruma expression. Error(unsupported) names the construct.
std::string translate_regex(std::string_view regex, const std::string& place);

}  // namespace nibble::tokenizing
