// SPDX-License-Identifier: Apache-2.0
//
// A client of a server on this machine that sends what it is told to, sound or not.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/letter_case.h"

namespace nibble::serve {

struct RawAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in small letters
  std::string body;                            // chunks joined
};

class RawClient {
 public:
  explicit RawClient(std::uint16_t port, int receive_bytes = 0) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    // Nothing here waits for ever, whatever a server does wrong.
    const timeval most{.tv_sec = 120, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    if (receive_bytes > 0) setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_connected_ = connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawClient() { leave(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool is_connected() const { return is_connected_; }
  void leave() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  // As a process that is killed leaves: what is on its way is lost.
  void break_off() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    leave();
  }

  // False where the server does not take it all.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  bool send_request(std::string_view method, std::string_view path, std::string_view body = "",
                    std::string_view headers = "") {
    std::string text = std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n";
    text += headers;
    if (!body.empty() || method == "POST") text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return send(text + "\r\n" + std::string(body));
  }

  // What stands up to this text, it too; all there was where the server closes before. "" at the end.
  std::string read_through(std::string_view end) {
    std::size_t at = 0;
    while ((at = read_.find(end)) == std::string::npos)
      if (!read_more()) return std::exchange(read_, {});
    std::string text = read_.substr(0, at + end.size());
    read_.erase(0, at + end.size());
    return text;
  }
  std::string read_bytes(std::size_t count) {
    while (read_.size() < count)
      if (!read_more()) break;
    std::string text = read_.substr(0, count);
    read_.erase(0, text.size());
    return text;
  }
  std::string read_rest() {
    while (read_more()) {
    }
    return std::exchange(read_, {});
  }

  // Status 0: there was none.
  RawAnswer read_answer(bool has_body = true) {
    RawAnswer answer = read_head();
    if (answer.status == 0 || !has_body) return answer;
    if (answer.headers["transfer-encoding"] == "chunked") {
      for (std::string chunk = read_chunk(); !chunk.empty(); chunk = read_chunk()) answer.body += chunk;
    } else if (answer.headers.contains("content-length")) {
      answer.body = read_bytes(std::stoul(answer.headers["content-length"]));
    } else {
      answer.body = read_rest();
    }
    return answer;
  }
  RawAnswer read_head() {
    RawAnswer answer;
    const std::string head = read_through("\r\n\r\n");
    if (!head.starts_with("HTTP/1.1 ") || !head.ends_with("\r\n\r\n")) return answer;
    answer.status = std::atoi(head.c_str() + 9);
    for (std::size_t at = head.find("\r\n") + 2; at + 2 < head.size();) {
      const std::size_t end = head.find("\r\n", at), colon = head.find(": ", at);
      answer.headers[lower_case(head.substr(at, colon - at))] = head.substr(colon + 2, end - colon - 2);
      at = end + 2;
    }
    return answer;
  }
  // "" at the last one.
  std::string read_chunk() {
    const std::string size = read_through("\r\n");
    std::string chunk = read_bytes(std::strtoul(size.c_str(), nullptr, 16));
    read_bytes(2);
    return chunk;
  }

 private:
  bool read_more() {
    char buffer[4096];
    const ssize_t count = recv(socket_, buffer, sizeof buffer, 0);
    if (count > 0) read_.append(buffer, static_cast<std::size_t>(count));
    return count > 0;
  }

  int socket_;
  bool is_connected_ = false;
  std::string read_;
};

inline RawAnswer ask(std::uint16_t port, std::string_view method, std::string_view path, std::string_view body = "",
                     std::string_view headers = "") {
  RawClient client(port);
  client.send_request(method, path, body, headers);
  return client.read_answer(method != "HEAD");
}

}  // namespace nibble::serve
