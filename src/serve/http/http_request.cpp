// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "serve/http/http_server.h"

namespace nibble::serve {

bool HttpRequest::has_header(std::string_view name) const noexcept {
  return std::ranges::any_of(headers, [&](const auto& one) { return one.first == name; });
}

std::string_view HttpRequest::header(std::string_view name) const noexcept {
  const auto found = std::ranges::find_if(headers, [&](const auto& one) { return one.first == name; });
  return found == headers.end() ? std::string_view() : found->second;
}

}  // namespace nibble::serve
