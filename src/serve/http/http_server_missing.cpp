// SPDX-License-Identifier: Apache-2.0
//
// In place of http_server.cpp and http_connection.cpp where nibble is built without Boost.
#include "nibble/error.h"
#include "serve/http/http_server.h"

namespace nibble::serve {

struct HttpServer::State {};

bool has_http_server() noexcept { return false; }

void require_http_server() {
  throw Error(ErrorKind::unsupported,
              "this nibble is built without its server; install libboost1.81-dev and build it again");
}

HttpServer::HttpServer(const HttpAddress&, const HttpLimits&, HttpHandler&) { require_http_server(); }
HttpServer::~HttpServer() = default;
std::uint16_t HttpServer::port() const noexcept { return 0; }
void HttpServer::start() {}
void HttpServer::close() {}
void HttpServer::renew(std::shared_ptr<TlsContext>) {}
std::size_t HttpServer::connections() const noexcept { return 0; }
void HttpServer::stop(std::chrono::milliseconds) {}

}  // namespace nibble::serve
