// SPDX-License-Identifier: Apache-2.0
#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer/pattern.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <array>

#include "nibble/error.h"

namespace nibble::tokenizing {
namespace {

// Backtracking steps of one match. Split expressions of real tokenizers need a handful for each character of a word.
constexpr std::uint32_t kMatchLimit = 10'000'000;
constexpr std::size_t kMaxJitStack = std::size_t{256} << 20;  // of addresses; memory is taken as it is needed

std::string message_of(int code) {
  std::array<unsigned char, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.text_ = std::move(text);
  return pattern;
}

Pattern Pattern::regex(std::string text, const std::string& place) {
  const std::string translated = translate_regex(text, place);
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  std::size_t offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context.get());
  if (code == nullptr)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: this regular expression cannot be compiled: {} at offset {} of '{}'", place,
                            message_of(error), offset, translated));
  // Without JIT (a hardened kernel may refuse executable pages) the interpreter does the same, slower.
  Pattern pattern;
  pattern.has_machine_code_ = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
  pattern.text_ = std::move(text);
  pattern.place_ = place;
  pattern.code_ = std::shared_ptr<const pcre2_real_code_8>(
      code, [](const pcre2_real_code_8* p) { pcre2_code_free(const_cast<pcre2_code*>(p)); });
  return pattern;
}

bool is_script(std::string_view name) {
  const std::string expression = "\\p{sc:" + std::string(name) + "}";
  int error = 0;
  std::size_t offset = 0;
  pcre2_code* const code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(), PCRE2_UTF,
                                         &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

PatternScan::PatternScan(const Pattern& pattern) : pattern_(pattern) {
  if (pattern_.is_literal()) return;
  data_ = pcre2_match_data_create_from_pattern(pattern_.code_.get(), nullptr);
  context_ = pcre2_match_context_create(nullptr);
  if (data_ == nullptr || context_ == nullptr)
    throw Error(ErrorKind::resource, "no memory left for matching a regular expression");
  pcre2_set_match_limit(context_, kMatchLimit);
}

PatternScan::~PatternScan() {
  pcre2_jit_stack_free(stack_);
  pcre2_match_context_free(context_);
  pcre2_match_data_free(data_);
}

int PatternScan::match(std::string_view subject, std::size_t from) {
  const auto* text = reinterpret_cast<PCRE2_SPTR>(subject.data());
  const auto run = pattern_.has_machine_code_ ? &pcre2_jit_match : &pcre2_match;  // the same, with fewer questions
  int result = run(pattern_.code_.get(), text, subject.size(), from, PCRE2_NO_UTF_CHECK, data_, context_);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT && stack_ == nullptr) {
    stack_ = pcre2_jit_stack_create(std::size_t{64} << 10, kMaxJitStack, nullptr);
    pcre2_jit_stack_assign(context_, nullptr, stack_);
    result = run(pattern_.code_.get(), text, subject.size(), from, PCRE2_NO_UTF_CHECK, data_, context_);
  }
  return result;
}

bool PatternScan::next(std::string_view subject, std::size_t from, std::size_t& begin, std::size_t& end) {
  if (pattern_.is_literal()) {
    if (pattern_.text_.empty()) return false;
    begin = subject.find(pattern_.text_, from);
    if (begin == std::string_view::npos) return false;
    end = begin + pattern_.text_.size();
    return true;
  }
  const int result = match(subject, from);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0)
    throw Error(ErrorKind::resource,
                fmt::format("{}: this regular expression takes too many steps on the text given ({}): '{}'",
                            pattern_.place_, message_of(result), pattern_.text_));
  const std::size_t* bounds = pcre2_get_ovector_pointer(data_);
  begin = bounds[0];
  end = bounds[1];
  // \K inside a look-ahead can report an end before the begin.
  if (end < begin) end = begin;
  return true;
}

std::size_t PatternScan::after_character(std::string_view subject, std::size_t at) noexcept {
  ++at;
  while (at < subject.size() && (static_cast<unsigned char>(subject[at]) & 0xC0) == 0x80) ++at;
  return at;
}

}  // namespace nibble::tokenizing
