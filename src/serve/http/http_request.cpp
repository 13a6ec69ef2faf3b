// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>

#include "serve/http/http_server.h"

namespace nibble::serve {

bool HttpRequest::has_header(std::string_view name) const noexcept {
  return std::ranges::any_of(headers, [&](const auto& one) { return one.first == name; });
}

std::string_view HttpRequest::header(std::string_view name) const noexcept {
  const auto found = std::ranges::find_if(headers, [&](const auto& one) { return one.first == name; });
  return found == headers.end() ? std::string_view() : found->second;
}

std::string percent_decoded(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    const std::string_view code = text[i] == '%' ? text.substr(i + 1, 2) : std::string_view();
    const auto [end, fault] = std::from_chars(code.data(), code.data() + code.size(), byte, 16);
    const bool is_code = code.size() == 2 && fault == std::errc{} && end == code.data() + 2;
    decoded += is_code ? static_cast<char>(byte) : text[i];
    if (is_code) i += 2;
  }
  return decoded;
}

std::optional<std::string> HttpRequest::query_field(std::string_view name) const {
  std::string_view rest = query;
  while (!rest.empty()) {
    const std::string_view field = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(field.size() + 1, rest.size()));
    if (!field.starts_with(name) || !field.substr(name.size()).starts_with('=')) continue;
    std::string value(field.substr(name.size() + 1));
    std::ranges::replace(value, '+', ' ');
    return percent_decoded(value);
  }
  return std::nullopt;
}

}  // namespace nibble::serve
