// SPDX-License-Identifier: Apache-2.0
//
// One client's connection. All of it runs on the network's thread; exchanges bring what they are told there.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "serve/http/client_stream.h"
#include "serve/http/http_server.h"

namespace nibble::serve {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Failure = boost::system::error_code;

class HttpConnection;

// What all connections share, of the network's thread where nothing else is said. Connections and the exchanges that
// others hold of them keep it alive.
struct HttpShared {
  // Not said to have one thread: what that thread brings would then come after what others bring later.
  asio::io_context context;
  HttpLimits limits;
  HttpHandler* handler = nullptr;
  std::shared_ptr<TlsContext> tls;           // null: HTTP
  std::mutex bringing;                       // any thread's, around is_over and what bring() adds
  bool is_over = false;                      // the thread has ended
  bool closes = false;                       // no further requests
  std::unordered_set<HttpConnection*> open;  // connections
  std::atomic<std::size_t> connections = 0;  // how many; any thread's

  // For the network's thread to do; nothing once that has ended, for what then waits would keep its connection, and
  // with it this, for ever. Any thread's.
  template <typename Act>
  void bring(Act act) {
    const std::lock_guard lock(bringing);
    if (!is_over) asio::post(context, std::move(act));
  }
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(asio::ip::tcp::socket socket, std::shared_ptr<HttpShared> shared);
  ~HttpConnection();

  void start();
  // Closes at once where no request is being read or answered, else after the answer.
  void close_when_idle();
  void close();

  // Of exchange number `exchange`; others are over.
  void answer(std::uint64_t exchange, HttpAnswer answer);
  void begin_stream(std::uint64_t exchange, const HttpAnswer& head, std::string ping);
  void send(std::uint64_t exchange, std::string piece);
  void end_stream(std::uint64_t exchange);
  void on_gone(std::uint64_t exchange, std::function<void()> callback);
  HttpShared& shared() noexcept { return *shared_; }

 private:
  using Parser = http::request_parser<http::string_body>;
  void expect(std::chrono::milliseconds most, void (HttpConnection::*late)());
  void look_for_plain_http();
  void agree_on_keys();
  void give_up_keys();
  void wait_for_request();
  void read_head();
  void read_body();
  void take_request();
  void refuse(int status, std::string_view why);
  void refuse_parsed(Failure failure);
  void write_last(const HttpAnswer& answer);  // and close
  void watch_client();
  void look_for_client(std::uint64_t exchange);
  void write(std::string bytes);
  void write_some();
  void written();
  void ping();
  void end_exchange();
  void linger();
  void discard();
  HttpRequest head_of(bool with_body);
  std::string head_text(const HttpAnswer& answer, bool is_stream, std::size_t bytes) const;

  std::shared_ptr<HttpShared> shared_;  // outlives the socket
  ClientStream stream_;
  asio::steady_timer timer_, ping_timer_, watch_timer_;
  std::uint64_t timed_ = 0;  // which wait the timer is for
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::string peer_;

  bool is_agreeing_ = false;    // on keys
  std::uint64_t exchange_ = 0;  // the number of the one that is being answered
  bool is_answering_ = false, streams_ = false, is_chunked_ = false, keeps_alive_ = false, is_head_ = false;
  bool is_reading_ = false, is_closed_ = false, ends_ = false;  // ends_: after what is to be written
  std::function<void()> gone_;
  std::string ping_;
  std::deque<std::string> outgoing_;
  std::size_t offset_ = 0, outgoing_bytes_ = 0;
};

}  // namespace nibble::serve
