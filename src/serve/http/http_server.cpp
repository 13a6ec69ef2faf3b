// SPDX-License-Identifier: Apache-2.0
#include "serve/http/http_server.h"

#include <fmt/format.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <thread>

#include "nibble/error.h"
#include "serve/http/http_connection.h"

namespace nibble::serve {

struct HttpServer::State {
  State(const HttpAddress& address, const HttpLimits& limits, HttpHandler& handler)
      : acceptor(shared->context), pause(shared->context) {
    shared->limits = limits;
    shared->handler = &handler;
    shared->tls = address.tls;
    const std::string where = fmt::format("{}:{}", address.host, address.port);
    Failure failure;
    const auto host = asio::ip::make_address(address.host == "localhost" ? "127.0.0.1" : address.host, failure);
    if (failure)
      throw Error(
          ErrorKind::invalid_argument,
          fmt::format("the server listens on an address, as 127.0.0.1 or ::1, not on a name: '{}'", address.host));
    const auto judge = [&](const char* what) {
      if (failure) throw Error(ErrorKind::io, fmt::format("cannot {} {}: {}", what, where, failure.message()));
    };
    const asio::ip::tcp::endpoint end(host, address.port);
    acceptor.open(end.protocol(), failure);
    judge("open a socket for");
    acceptor.set_option(asio::ip::tcp::acceptor::reuse_address(true), failure);
    acceptor.bind(end, failure);
    judge("listen on");
    acceptor.listen(asio::socket_base::max_listen_connections, failure);
    judge("listen on");
    port = acceptor.local_endpoint().port();
  }

  void accept() {
    acceptor.async_accept([this](const Failure& failure, asio::ip::tcp::socket socket) {
      if (shared->closes) return;
      try {
        if (!failure && shared->connections < shared->limits.connections)
          std::make_shared<HttpConnection>(std::move(socket), shared)->start();
      } catch (const std::exception&) {  // no memory for it: this client is turned away
      }
      if (!failure) return accept();
      // No descriptors are left, perhaps: others will close theirs.
      pause.expires_after(std::chrono::milliseconds(100));
      pause.async_wait([this](const Failure& stopped) {
        if (!stopped && !shared->closes) accept();
      });
    });
  }

  template <typename Act>
  void for_each(Act act) {
    std::vector<std::shared_ptr<HttpConnection>> all;
    for (HttpConnection* const one : shared->open)
      if (auto held = one->weak_from_this().lock()) all.push_back(std::move(held));
    for (const auto& one : all) act(*one);
  }

  std::shared_ptr<HttpShared> shared = std::make_shared<HttpShared>();
  asio::ip::tcp::acceptor acceptor;
  asio::steady_timer pause;
  std::uint16_t port = 0;
  std::thread thread;
};

bool has_http_server() noexcept { return true; }
void require_http_server() {}

HttpServer::HttpServer(const HttpAddress& address, const HttpLimits& limits, HttpHandler& handler)
    : state_(std::make_unique<State>(address, limits, handler)) {}

HttpServer::~HttpServer() { stop(std::chrono::milliseconds(0)); }

std::uint16_t HttpServer::port() const noexcept { return state_->port; }

std::size_t HttpServer::connections() const noexcept { return state_->shared->connections; }

void HttpServer::start() {
  state_->accept();
  state_->thread = std::thread([this] { state_->shared->context.run(); });
}

void HttpServer::close() {
  asio::post(state_->shared->context, [this] {
    state_->shared->closes = true;
    Failure ignored;
    state_->acceptor.close(ignored);
    state_->pause.cancel();
    state_->for_each([](HttpConnection& one) { one.close_when_idle(); });
  });
}

void HttpServer::renew(std::shared_ptr<TlsContext> tls) {
  asio::post(state_->shared->context,
             [shared = state_->shared.get(), tls = std::move(tls)]() mutable { shared->tls = std::move(tls); });
}

// The thread ends when nothing is left to wait for.
void HttpServer::stop(std::chrono::milliseconds most) {
  State& s = *state_;
  if (!s.thread.joinable()) return;
  close();
  const auto late = std::chrono::steady_clock::now() + most;
  while (s.shared->connections > 0 && std::chrono::steady_clock::now() < late)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  asio::post(s.shared->context, [&s] { s.for_each([](HttpConnection& one) { one.close(); }); });
  s.thread.join();
  {
    const std::lock_guard lock(s.shared->bringing);
    s.shared->is_over = true;
  }
  s.shared->context.restart();  // what came when the thread had ended
  s.shared->context.poll();
}

}  // namespace nibble::serve
