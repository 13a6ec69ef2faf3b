// SPDX-License-Identifier: Apache-2.0
//
// What `nibble explain` says of words that are no way of storing weights: methods, fits, tasks, measures. In English
// and in Chinese, immutable.
//
//   if (const Term* term = find_term("gptq")) show(term_text(*term, Language::english));
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "report/json_report.h"
#include "report/topics.h"

namespace nibble {

enum class TermKind { method, stage, fit, estimator, task, measure, data };

struct Term {
  TermKind kind;
  std::string_view name;
  std::span<const std::string_view> other_names;
  Bilingual text;              // a paragraph
  std::string_view command{};  // that uses it, "nibble ..."; empty: none
};

std::span<const Term> all_terms();
// In any mixture of small and large letters. Null when there is none.
const Term* find_term(std::string_view name);

std::string term_text(const Term& term, Language language);
// name, kind, language, text, command (null where there is none)
Json term_json(const Term& term, Language language);

}  // namespace nibble
