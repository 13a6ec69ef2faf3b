// SPDX-License-Identifier: Apache-2.0
#include "serve/api/access.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/letter_case.h"

namespace nibble::serve {

namespace {

bool is_address(const std::string& name) {
  std::array<unsigned char, 16> bytes{};
  return inet_pton(AF_INET, name.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1;
}

std::string_view given_key(const HttpRequest& head) {
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view field = head.header("authorization");
  if (field.size() > kBearer.size() && lower_case(field.substr(0, kBearer.size())) == kBearer)
    return field.substr(kBearer.size());
  return head.header("x-api-key");
}

// Of the names of headers that a page asks for, those that are names (RFC 9110, 5.6.2): clients bring many of their
// own.
std::string names_of_headers(std::string_view asked) {
  const auto is_of_name = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  };
  std::string names = "Authorization, Content-Type, X-Api-Key";
  while (!asked.empty()) {
    std::string_view name = asked.substr(0, asked.find(','));
    asked.remove_prefix(std::min(name.size() + 1, asked.size()));
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    if (!name.empty() && std::ranges::all_of(name, is_of_name)) names.append(", ").append(name);
  }
  return names;
}

}  // namespace

std::string host_name(std::string_view host) {
  if (host.starts_with('[')) return lower_case(host.substr(1, host.find(']') - 1));
  return lower_case(host.substr(0, host.find(':')));
}

Access::Access(AccessRules rules) : rules_(std::move(rules)) {
  for (const std::string& key : rules_.keys)
    if (key.empty() || key.size() > kMostKeyBytes)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("a key has 1 to {} bytes; bytes: {}", kMostKeyBytes, key.size()));
  for (std::string& host : rules_.hosts) host = host_name(host);
}

// In a time that depends neither on where keys differ nor on which one it is.
bool Access::knows_key(std::string_view key) const noexcept {
  unsigned found = 0;
  for (const std::string& known : rules_.keys) {
    unsigned difference = known.size() == key.size() ? 0 : 1;
    for (std::size_t i = 0; i < kMostKeyBytes; ++i) {
      const auto a = static_cast<unsigned char>(i < known.size() ? known[i] : 0);
      const auto b = static_cast<unsigned char>(i < key.size() ? key[i] : 0);
      difference |= static_cast<unsigned>(a ^ b);
    }
    found |= difference == 0 ? 1U : 0U;
  }
  return found != 0;
}

bool Access::knows_host(std::string_view host) const {
  const std::string name = host_name(host);
  return name == "localhost" || is_address(name) || std::ranges::find(rules_.hosts, name) != rules_.hosts.end();
}

bool Access::is_allowed_origin(std::string_view origin) const {
  return std::ranges::find(rules_.origins, origin) != rules_.origins.end();
}

std::optional<ApiError> Access::judge(const HttpRequest& head, bool needs_key) const {
  const std::string_view host = head.header("host"), origin = head.header("origin");
  if (host.empty()) return ApiError(400, "the request has no Host");
  if (!knows_host(host))
    return ApiError(
        403, fmt::format("this server is not known as '{}'; start it with --allow-host and the name", host_name(host)));
  // An origin is a scheme, "://", and what stands in Host.
  const std::size_t mark = origin.find("://");
  const bool is_own = mark != std::string_view::npos && lower_case(origin.substr(mark + 3)) == lower_case(host);
  if (!origin.empty() && !is_own && !is_allowed_origin(origin))
    return ApiError(
        403, fmt::format("pages of '{}' may not use this server; start it with --allow-origin and that", origin));
  if (needs_key && !rules_.keys.empty() && head.method != "OPTIONS" && !knows_key(given_key(head)))
    return ApiError(401, "a key is needed, and the one that was given is none of this server's", "", "invalid_api_key");
  return std::nullopt;
}

HttpHeaders Access::headers_for(const HttpRequest& head) const {
  const std::string_view origin = head.header("origin");
  if (origin.empty() || !is_allowed_origin(origin)) return {};
  return {{"Access-Control-Allow-Origin", std::string(origin)},
          {"Access-Control-Allow-Methods", "GET, POST"},
          {"Access-Control-Allow-Headers", names_of_headers(head.header("access-control-request-headers"))},
          {"Vary", "Origin"}};
}

}  // namespace nibble::serve
