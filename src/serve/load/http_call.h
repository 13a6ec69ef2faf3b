// SPDX-License-Identifier: Apache-2.0
//
// A request to a server on this machine, and its answer piece by piece as it comes. Blocks; safe from many threads.
//
//   const LoopbackAddress address = parse_loopback_url("http://127.0.0.1:8080");
//   const int status = call_http(address, {.path = "/v1/models"}, [&](std::string_view piece) { body += piece; });
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace nibble::serve {

struct LoopbackAddress {
  std::string host = "127.0.0.1";  // a number, of IP 4 or 6
  std::uint16_t port = 0;
};

// "http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080", a path behind it being none of it.
// Error(invalid_argument): another machine, no port, or no such address.
LoopbackAddress parse_loopback_url(std::string_view url);

struct HttpCall {
  std::string_view method = "GET", path = "/";
  std::string body = {};  // JSON
  std::string key = {};   // empty: none is sent
  double most_seconds = 600;
};

// Its status; 0: there was no whole answer, within that time or at all.
int call_http(const LoopbackAddress& address, const HttpCall& call,
              const std::function<void(std::string_view piece)>& on_piece);

}  // namespace nibble::serve
