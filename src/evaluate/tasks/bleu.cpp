// SPDX-License-Identifier: Apache-2.0
#include "evaluate/tasks/bleu.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "evaluate/tasks/task_file.h"

namespace nibble {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// ASCII punctuation but for ' , - . which have rules of their own or none.
bool always_apart(char c) {
  return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') ||
         (c >= ':' && c <= '@') || c == '/';
}

std::map<std::string, std::uint64_t> ngrams(const std::vector<std::string>& tokens, std::size_t n) {
  std::map<std::string, std::uint64_t> counts;
  for (std::size_t i = 0; i + n <= tokens.size(); ++i) {
    std::string key;
    for (std::size_t j = 0; j < n; ++j) key += tokens[i + j] + '\0';
    ++counts[key];
  }
  return counts;
}

}  // namespace

std::vector<std::string> bleu_tokens(std::string_view raw) {
  std::string text = replaced(replaced(replaced(std::string(raw), "<skipped>", ""), "-\n", ""), "\n", " ");
  text = replaced(replaced(replaced(replaced(text, "&quot;", "\""), "&amp;", "&"), "&lt;", "<"), "&gt;", ">");
  text = " " + text + " ";
  std::string spaced;
  for (const char c : text) spaced += always_apart(c) ? std::string{' ', c, ' '} : std::string(1, c);
  // A point or comma stands apart unless digits are on both sides; a dash does after a digit. Each rule passes over the
  // text once and, like the regular expressions that define it, does not look again at a character that the match
  // before has taken.
  std::string first, second, third;
  for (std::size_t i = 0; i < spaced.size(); ++i) {
    if (i + 1 < spaced.size() && !is_digit(spaced[i]) && (spaced[i + 1] == '.' || spaced[i + 1] == ',')) {
      first += {spaced[i], ' ', spaced[i + 1], ' '};
      ++i;
    } else {
      first += spaced[i];
    }
  }
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (i + 1 < first.size() && (first[i] == '.' || first[i] == ',') && !is_digit(first[i + 1])) {
      second += {' ', first[i], ' ', first[i + 1]};
      ++i;
    } else {
      second += first[i];
    }
  }
  for (std::size_t i = 0; i < second.size(); ++i) {
    third += second[i];
    if (is_digit(second[i]) && i + 1 < second.size() && second[i + 1] == '-') {
      third += " - ";
      ++i;
    }
  }
  std::vector<std::string> tokens;
  std::string token;
  for (const char c : third) {
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    if (!space) token += c;
    if (space && !token.empty()) tokens.push_back(std::exchange(token, {}));
  }
  return tokens;
}

BleuCounts& operator+=(BleuCounts& sum, const BleuCounts& other) {
  for (std::size_t n = 0; n < 4; ++n) {
    sum.matches[n] += other.matches[n];
    sum.totals[n] += other.totals[n];
  }
  sum.length += other.length;
  sum.reference_length += other.reference_length;
  return sum;
}

BleuCounts count_bleu(std::string_view made, std::string_view reference) {
  const std::vector<std::string> a = bleu_tokens(made), b = bleu_tokens(reference);
  BleuCounts counts;
  counts.length = a.size();
  counts.reference_length = b.size();
  for (std::size_t n = 1; n <= 4; ++n) {
    const auto own = ngrams(a, n), wanted = ngrams(b, n);
    for (const auto& [key, count] : own) {
      counts.totals[n - 1] += count;
      if (const auto found = wanted.find(key); found != wanted.end())
        counts.matches[n - 1] += std::min(count, found->second);
    }
  }
  return counts;
}

double bleu_of(const BleuCounts& counts) {
  if (counts.matches[0] == 0) return 0;
  // An order that found nothing counts half of one match, the next such order a quarter, and so on.
  double logs = 0, smoothing = 1;
  for (std::size_t n = 0; n < 4; ++n) {
    if (counts.totals[n] == 0) return 0;
    const double total = static_cast<double>(counts.totals[n]);
    if (counts.matches[n] == 0) smoothing *= 2;
    logs += std::log(counts.matches[n] == 0 ? 1 / (smoothing * total) : static_cast<double>(counts.matches[n]) / total);
  }
  const double length = static_cast<double>(counts.length), reference = static_cast<double>(counts.reference_length);
  const double brevity = length < reference ? std::exp(1 - reference / length) : 1;
  return 100 * brevity * std::exp(logs / 4);
}

}  // namespace nibble
