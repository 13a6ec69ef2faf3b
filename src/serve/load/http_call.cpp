// SPDX-License-Identifier: Apache-2.0
#include "serve/load/http_call.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/elapsed.h"
#include "base/letter_case.h"
#include "base/platform.h"
#include "nibble/error.h"

namespace nibble::serve {

namespace {

// Programs that are started do not have it, and writing to who has gone is an error and no signal.
#if NIBBLE_APPLE
constexpr int kNoSignal = 0;
int new_socket(int family) {
  const int made = ::socket(family, SOCK_STREAM, 0), on = 1;
  if (made < 0) return made;
  ::fcntl(made, F_SETFD, FD_CLOEXEC);
  ::setsockopt(made, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
  return made;
}
#else
constexpr int kNoSignal = MSG_NOSIGNAL;
int new_socket(int family) { return ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0); }
#endif

class Connection {
 public:
  Connection(const LoopbackAddress& address, double most_seconds)
      : most_seconds_(most_seconds), start_(std::chrono::steady_clock::now()) {
    sockaddr_in of_4{.sin_family = AF_INET, .sin_port = htons(address.port), .sin_addr = {}, .sin_zero = {}};
    sockaddr_in6 of_6{};
    of_6.sin6_family = AF_INET6;
    of_6.sin6_port = htons(address.port);
    const bool is_4 = inet_pton(AF_INET, address.host.c_str(), &of_4.sin_addr) == 1;
    if (!is_4 && inet_pton(AF_INET6, address.host.c_str(), &of_6.sin6_addr) != 1) return;
    socket_ = new_socket(is_4 ? AF_INET : AF_INET6);
    if (socket_ < 0) return;
    // Looks at the time now and then.
    const timeval wait{.tv_sec = 1, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    const int now = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &now, sizeof now);
    const auto* const to = is_4 ? reinterpret_cast<const sockaddr*>(&of_4) : reinterpret_cast<const sockaddr*>(&of_6);
    is_open_ = ::connect(socket_, to, is_4 ? sizeof of_4 : sizeof of_6) == 0;
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (socket_ >= 0) ::close(socket_);
  }

  bool send(std::string_view bytes) {
    while (is_open_ && !bytes.empty()) {
      const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), kNoSignal);
      is_open_ = count > 0;
      if (is_open_) bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return is_open_;
  }
  // Appends what comes next. False: nothing does any more.
  bool read(std::string& to) {
    char bytes[16384];
    while (is_open_ && seconds_since(start_) < most_seconds_) {
      const ssize_t count = ::recv(socket_, bytes, sizeof bytes, 0);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      is_open_ = count > 0;
      if (is_open_) to.append(bytes, static_cast<std::size_t>(count));
      return is_open_;
    }
    return false;
  }

 private:
  double most_seconds_;
  std::chrono::steady_clock::time_point start_;
  int socket_ = -1;
  bool is_open_ = false;
};

// A body on its way: in chunks, of a length, or up to the connection's end.
class Body {
 public:
  // head: in small letters.
  explicit Body(std::string_view head) : is_chunked_(head.find("\r\ntransfer-encoding: chunked") != head.npos) {
    constexpr std::string_view kLength = "\r\ncontent-length: ";
    const std::size_t at = head.find(kLength);
    if (is_chunked_ || at == head.npos) return;
    const std::string_view digits = head.substr(at + kLength.size());
    std::from_chars(digits.data(), digits.data() + digits.size(), left_);
    ends_with_connection_ = false;
  }
  bool ends_with_connection() const noexcept { return !is_chunked_ && ends_with_connection_; }

  // Gives on what has come of it. True: that was all.
  bool take(std::string& read, const std::function<void(std::string_view)>& on_piece) {
    if (ends_with_connection()) {
      on_piece(std::exchange(read, {}));
      return false;
    }
    for (;;) {
      const std::size_t count = std::min(left_, read.size());
      if (count > 0) on_piece(std::string_view(read).substr(0, count));
      read.erase(0, count);
      left_ -= count;
      if (left_ > 0) return false;
      if (!is_chunked_) return true;
      if (!begin_chunk(read)) return is_done_;
    }
  }

 private:
  // False: its size has not come yet, or it was the last one.
  bool begin_chunk(std::string& read) {
    const std::size_t begin = has_chunk_ ? 2 : 0;  // behind the end of the one before
    const std::size_t end = read.find("\r\n", begin);
    if (read.size() < begin || end == std::string::npos) return false;
    left_ = 0;
    std::from_chars(read.data() + begin, read.data() + end, left_, 16);
    read.erase(0, end + 2);
    has_chunk_ = true;
    is_done_ = left_ == 0;
    return !is_done_;
  }

  bool is_chunked_, ends_with_connection_ = true, has_chunk_ = false, is_done_ = false;
  std::size_t left_ = 0;
};

}  // namespace

LoopbackAddress parse_loopback_url(std::string_view url) {
  const auto refuse = [&](const char* why) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{}: '{}'", why, url));
  };
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) refuse("a server's address begins with http://");
  std::string_view rest = url.substr(kScheme.size());
  rest = rest.substr(0, rest.find('/'));
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || rest.ends_with(']')) refuse("the address has no port");
  std::string host(rest.substr(0, colon));
  const std::string_view digits = rest.substr(colon + 1);
  LoopbackAddress address;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (fault != std::errc{} || end != digits.data() + digits.size() || address.port == 0)
    refuse("the address has no port");
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = address.host;
  in_addr of_4{};
  const bool is_loopback = host == "::1" || (host.starts_with("127.") && inet_pton(AF_INET, host.c_str(), &of_4) == 1);
  if (!is_loopback) refuse("only servers on this machine are put under load");
  address.host = std::move(host);
  return address;
}

int call_http(const LoopbackAddress& address, const HttpCall& call,
              const std::function<void(std::string_view piece)>& on_piece) {
  Connection connection(address, call.most_seconds);
  std::string request =
      fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", call.method, call.path);
  if (!call.key.empty()) request += fmt::format("Authorization: Bearer {}\r\n", call.key);
  if (!call.body.empty() || call.method == "POST")
    request += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", call.body.size());
  if (!connection.send(request + "\r\n" + call.body)) return 0;
  std::string read;
  std::size_t end = std::string::npos;
  while ((end = read.find("\r\n\r\n")) == std::string::npos)
    if (!connection.read(read)) return 0;
  const std::string head = lower_case(read.substr(0, end + 2));
  read.erase(0, end + 4);
  int status = 0;
  if (!head.starts_with("http/1.1 ") || head.size() < 12) return 0;
  std::from_chars(head.data() + 9, head.data() + 12, status);
  Body body(head);
  while (!body.take(read, on_piece))
    if (!connection.read(read)) return body.ends_with_connection() ? status : 0;
  return status;
}

}  // namespace nibble::serve
