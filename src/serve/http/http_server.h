// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 on a socket, plain or inside TLS: reads requests under limits, hands them on, and writes what is answered,
// whole or as a stream. Knows nothing of what is served. One thread serves all connections; a handler returns soon and
// answers from any thread.
//
//   HttpServer server({.host = "127.0.0.1", .port = 8080}, limits, handler);
//   server.start();
//   ...
//   server.stop(std::chrono::seconds(1));
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble::serve {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;       // "POST"
  std::string path, query;  // before and behind the '?', as they came
  HttpHeaders headers;      // names in small letters
  std::string body;
  std::string peer;  // address

  // Empty where there is none; the first of several.
  std::string_view header(std::string_view name) const noexcept;
  bool has_header(std::string_view name) const noexcept;
  // Of the query, decoded as forms write it; none: it has no such field. The first of several.
  std::optional<std::string> query_field(std::string_view name) const;
};

// RFC 3986, 2.1; what is no code of a byte stays as it is.
std::string percent_decoded(std::string_view text);

struct HttpAnswer {
  int status = 200;
  std::string content_type = "application/json";
  std::string body{};
  HttpHeaders headers{};  // without a Cache-Control among them nothing is stored
};

// The answer to one request. Safe from any thread; calls after the client has left, or after the end, do nothing.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual void answer(HttpAnswer answer) = 0;
  // An answer that comes in pieces. ping: is sent when nothing else was for HttpLimits::ping.
  virtual void begin_stream(HttpAnswer head, std::string ping) = 0;
  virtual void send(std::string piece) = 0;
  virtual void end_stream() = 0;
  // Called once when the client leaves, or is given up, before the answer's end; at once where it has left.
  virtual void on_gone(std::function<void()> callback) = 0;
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Called by the network's thread. An answer refuses the request before its body is read. A request is judged, or
  // handled, and not both where it is refused.
  virtual std::optional<HttpAnswer> judge_head(const HttpRequest& head) = 0;
  virtual void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) = 0;
  // What is no request for a handler: 400, 408, 413, 431.
  virtual HttpAnswer refuse(int status, std::string_view why) = 0;
  // A client that sent something and with whom no keys were agreed on, so that it could ask nothing. By the network's
  // thread.
  virtual void note_unheard(std::string_view peer, std::string_view why) = 0;
};

struct HttpLimits {
  std::size_t header_bytes = 16U << 10U, body_bytes = 4U << 20U;
  std::size_t outgoing_bytes = 1U << 20U;  // of a stream, that a client has not taken; then it is given up
  std::size_t connections = 4096;
  std::chrono::milliseconds header{10'000};  // from its first byte to its end
  std::chrono::milliseconds body{30'000};    // until more of it comes
  std::chrono::milliseconds idle{75'000};    // between requests
  std::chrono::milliseconds stall{30'000};   // until a client takes more of an answer
  std::chrono::milliseconds ping{15'000};
};

// A certificate and its key, read.
class TlsContext;

struct HttpAddress {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;          // 0: any that is free
  std::shared_ptr<TlsContext> tls{};  // HTTPS; null: HTTP
};

// Files in PEM: a certificate with those that signed it behind it, and its private key without a passphrase.
// Error(unsupported) where nibble is built without OpenSSL, not_found, unusable_input (no certificate or key, locked,
// of another one).
std::shared_ptr<TlsContext> read_tls_files(const std::string& certificate, const std::string& key);

// False where nibble is built without the server's library.
bool has_http_server() noexcept;
// Error(unsupported) there, as of the constructor below: for whoever has work to do before that.
void require_http_server();

class HttpServer {
 public:
  // Listens from here on; connections wait until start(). handler must outlive this. Error(io) names address and
  // reason, Error(invalid_argument) a host that is no address.
  HttpServer(const HttpAddress& address, const HttpLimits& limits, HttpHandler& handler);
  ~HttpServer();

  std::uint16_t port() const noexcept;
  void start();
  // Takes no more connections, and answers no more requests on those that are there than they have begun.
  void close();
  std::size_t connections() const noexcept;
  // Connections to come are shown this certificate. Of a server that has one, any thread's.
  void renew(std::shared_ptr<TlsContext> tls);
  // After close(): waits until all answers are written, but not longer than this, and ends the thread.
  void stop(std::chrono::milliseconds most);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble::serve
