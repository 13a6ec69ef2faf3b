// SPDX-License-Identifier: Apache-2.0
//
// A client's bytes, as they come or inside TLS; a stream as Asio and Beast have them. Of one thread.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <optional>
#include <utility>
#if NIBBLE_TLS
#include <boost/asio/ssl/stream.hpp>

#include "serve/http/tls_context.h"
#endif

namespace nibble::serve {

class TlsContext;

class ClientStream {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using executor_type = Socket::executor_type;
  using Failure = boost::system::error_code;

#if NIBBLE_TLS
  // tls: null for bytes as they come.
  ClientStream(Socket socket, const std::shared_ptr<TlsContext>& tls) : socket_(std::move(socket)) {
    if (tls) tls_.emplace(socket_, tls->context());
  }
  bool is_encrypted() const noexcept { return tls_.has_value(); }
#else
  ClientStream(Socket socket, const std::shared_ptr<TlsContext>&) : socket_(std::move(socket)) {}
  static constexpr bool is_encrypted() noexcept { return false; }
#endif

  executor_type get_executor() noexcept { return socket_.get_executor(); }
  Socket& socket() noexcept { return socket_; }

  template <typename Buffers, typename Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    with_stream([&](auto& stream) { stream.async_read_some(buffers, std::forward<Handler>(handler)); });
  }
  template <typename Buffers, typename Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    with_stream([&](auto& stream) { stream.async_write_some(buffers, std::forward<Handler>(handler)); });
  }

  // Agrees on keys. Of an encrypted stream.
  template <typename Handler>
  void async_handshake(Handler&& handler) {
#if NIBBLE_TLS
    tls_->async_handshake(boost::asio::ssl::stream_base::server, std::forward<Handler>(handler));
#else
    handler(Failure());
#endif
  }

  // Says that nothing follows, and inside TLS waits for the client to say so, too.
  template <typename Handler>
  void async_end(Handler&& handler) {
#if NIBBLE_TLS
    if (tls_) {
      tls_->async_shutdown([this, handler = std::forward<Handler>(handler)](const Failure&) mutable {
        shut_down_socket();
        handler();
      });
      return;
    }
#endif
    shut_down_socket();
    handler();
  }

 private:
  template <typename Act>
  void with_stream(Act act) {
#if NIBBLE_TLS
    if (tls_) return act(*tls_);
#endif
    act(socket_);
  }
  void shut_down_socket() {
    Failure ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
  }

  Socket socket_;
#if NIBBLE_TLS
  std::optional<boost::asio::ssl::stream<Socket&>> tls_;
#endif
};

}  // namespace nibble::serve
