// SPDX-License-Identifier: Apache-2.0
//
// Who may use a server: keys, and the names that a browser may reach it under. Immutable, safe from many threads.
//
// A page of anywhere can have a name of its own resolved to 127.0.0.1 and then talk to what listens there as to itself
// (DNS rebinding), so requests are answered that name an address, localhost or a name that was allowed; and a browser's
// only for pages of the server itself or of origins that were allowed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api/api_error.h"

namespace nibble::serve {

struct AccessRules {
  std::vector<std::string> keys;     // none: everybody may
  std::vector<std::string> hosts;    // besides addresses and localhost
  std::vector<std::string> origins;  // "https://example.org"; besides the server's own
};

class Access {
 public:
  // Error(invalid_argument): a key that is empty or longer than kMostKeyBytes.
  explicit Access(AccessRules rules);
  static constexpr std::size_t kMostKeyBytes = 256;

  // Why a request is refused: 400 (no Host), 401, 403. needs_key: false for what everybody may see.
  std::optional<ApiError> judge(const HttpRequest& head, bool needs_key) const;
  // Headers that let a page of an allowed origin read an answer; none for others.
  HttpHeaders headers_for(const HttpRequest& head) const;

 private:
  bool knows_key(std::string_view key) const noexcept;
  bool knows_host(std::string_view host) const;
  bool is_allowed_origin(std::string_view origin) const;
  AccessRules rules_;
};

// "example.org" of "example.org:8080", "::1" of "[::1]:8080"; in small letters.
std::string host_name(std::string_view host);

}  // namespace nibble::serve
