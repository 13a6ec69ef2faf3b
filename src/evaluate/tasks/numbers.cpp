// SPDX-License-Identifier: Apache-2.0
#include "evaluate/tasks/numbers.h"

namespace nibble {

namespace {

constexpr std::string_view kMark = "#### ";

bool in_number(char c) { return (c >= '0' && c <= '9') || c == '.' || c == ','; }

// What the harness strips before it compares: "," and "$", and a point at the end.
std::string bare_number(std::string_view text) {
  std::string number;
  for (const char c : text)
    if (c != ',' && c != '$') number += c;
  if (number.ends_with('.')) number.pop_back();
  return number;
}

}  // namespace

std::string wanted_number(std::string_view solution) {
  const std::size_t mark = solution.rfind(kMark);
  return mark == solution.npos ? std::string() : bare_number(solution.substr(mark + kMark.size()));
}

// The harness's "#### (\-?[0-9\.\,]+)", the first match.
std::string strict_number(std::string_view text) {
  for (std::size_t mark = text.find(kMark); mark != text.npos; mark = text.find(kMark, mark + 1)) {
    const std::size_t begin = mark + kMark.size();
    std::size_t end = begin < text.size() && text[begin] == '-' ? begin + 1 : begin;
    const std::size_t digits = end;
    while (end < text.size() && in_number(text[end])) ++end;
    if (end > digits) return bare_number(text.substr(begin, end - begin));
  }
  return {};
}

// The harness's "(-?[$0-9.,]{2,})|(-?[0-9]+)", the last match.
std::string last_number(std::string_view text) {
  const auto part = [&](std::size_t i) { return i < text.size() && (in_number(text[i]) || text[i] == '$'); };
  std::string last;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = text[i] == '-' ? i + 1 : i;
    std::size_t end = start;
    while (part(end)) ++end;
    const bool single_digit = end == start + 1 && text[start] >= '0' && text[start] <= '9';
    if (end - start >= 2 || single_digit) {
      last = text.substr(i, end - i);
      i = end;
    } else {
      ++i;
    }
  }
  return bare_number(last);
}

}  // namespace nibble
