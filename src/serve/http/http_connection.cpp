// SPDX-License-Identifier: Apache-2.0
#include "serve/http/http_connection.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <utility>

#include "base/letter_case.h"
#include "base/platform.h"

namespace nibble::serve {

namespace {

constexpr std::size_t kReadBytes = 16U << 10U;
constexpr std::chrono::milliseconds kLinger{2000};

// What poll is asked of a client: whether it has ended its side. Elsewhere than on Linux it tells only of one that has
// ended both, which it does unasked (POLLHUP).
#if NIBBLE_LINUX
constexpr short kHasGone = POLLRDHUP;
#else
constexpr short kHasGone = 0;
#endif

// What is said to a connection goes to its thread.
class Exchange final : public HttpExchange {
 public:
  Exchange(std::shared_ptr<HttpConnection> connection, std::uint64_t number)
      : connection_(std::move(connection)), number_(number) {}
  // A request that nobody answers would leave its client waiting. The connection ends on the network's thread.
  ~Exchange() override {
    HttpShared& shared = connection_->shared();
    shared.bring([number = number_, connection = std::move(connection_)] {
      connection->answer(
          number, {.status = 500, .body = R"({"error":{"message":"the request was dropped","type":"server_error"}})"});
    });
  }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  void answer(HttpAnswer answer) override {
    bring([number = number_, answer = std::move(answer)](HttpConnection& c) mutable {
      c.answer(number, std::move(answer));
    });
  }
  void begin_stream(HttpAnswer head, std::string ping) override {
    bring([number = number_, head = std::move(head), ping = std::move(ping)](HttpConnection& c) mutable {
      c.begin_stream(number, head, std::move(ping));
    });
  }
  void send(std::string piece) override {
    bring(
        [number = number_, piece = std::move(piece)](HttpConnection& c) mutable { c.send(number, std::move(piece)); });
  }
  void end_stream() override {
    bring([number = number_](HttpConnection& c) { c.end_stream(number); });
  }
  void on_gone(std::function<void()> callback) override {
    bring([number = number_, callback = std::move(callback)](HttpConnection& c) mutable {
      c.on_gone(number, std::move(callback));
    });
  }

 private:
  template <typename Act>
  void bring(Act act) {
    connection_->shared().bring([connection = connection_, act = std::move(act)]() mutable { act(*connection); });
  }
  std::shared_ptr<HttpConnection> connection_;
  std::uint64_t number_;
};

std::string_view reason_of(int status) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(status));
  return {reason.data(), reason.size()};
}

}  // namespace

HttpConnection::HttpConnection(asio::ip::tcp::socket socket, std::shared_ptr<HttpShared> shared)
    : shared_(std::move(shared)),
      stream_(std::move(socket), shared_->tls),
      timer_(stream_.get_executor()),
      ping_timer_(stream_.get_executor()),
      watch_timer_(stream_.get_executor()) {
  shared_->open.insert(this);
  ++shared_->connections;
  Failure failure;
  const auto end = stream_.socket().remote_endpoint(failure);
  if (!failure) peer_ = end.address().to_string();
  stream_.socket().set_option(asio::ip::tcp::no_delay(true), failure);
}

HttpConnection::~HttpConnection() { close(); }

void HttpConnection::start() {
  if (stream_.is_encrypted()) return look_for_plain_http();
  wait_for_request();
}

// Who speaks plain HTTP here has the wrong address, and is told so in its language: it begins with a method's name,
// and a record of TLS with its kind (22; RFC 8446, 5.1).
void HttpConnection::look_for_plain_http() {
  static constexpr std::string_view kPlain =
      "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 40\r\nConnection: close\r\n\r\n"
      "this server speaks HTTPS, not HTTP here\n";
  expect(shared_->limits.header, &HttpConnection::give_up_keys);
  stream_.socket().async_wait(asio::ip::tcp::socket::wait_read, [self = shared_from_this()](const Failure& failure) {
    if (self->is_closed_) return;
    char first = 0;
    const bool came = !failure && recv(self->stream_.socket().native_handle(), &first, 1, MSG_PEEK) == 1;
    if (!came) return self->close();
    if (first < 'A' || first > 'Z') return self->agree_on_keys();
    self->shared_->handler->note_unheard(self->peer_, "HTTP where the server speaks HTTPS");
    asio::async_write(self->stream_.socket(), asio::buffer(kPlain),
                      [self](const Failure&, std::size_t) { self->discard(); });
  });
}

void HttpConnection::agree_on_keys() {
  is_agreeing_ = true;
  stream_.async_handshake([self = shared_from_this()](const Failure& failure) {
    if (self->is_closed_) return;
    if (!failure) return self->wait_for_request();
    self->shared_->handler->note_unheard(self->peer_, failure.message());
    self->close();
  });
}

// Of who sends nothing at all, as those do who look whether a port is open, nothing is said.
void HttpConnection::give_up_keys() {
  if (is_agreeing_) shared_->handler->note_unheard(peer_, "no keys were agreed on in time");
  close();
}

void HttpConnection::close_when_idle() {
  if (!is_answering_ && !is_reading_ && outgoing_.empty()) close();
  keeps_alive_ = false;
}

// Of what is written nothing waits any more.
void HttpConnection::close() {
  if (std::exchange(is_closed_, true)) return;
  shared_->open.erase(this);
  --shared_->connections;
  Failure ignored;
  timer_.cancel();
  ping_timer_.cancel();
  watch_timer_.cancel();
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  stream_.socket().close(ignored);
  outgoing_.clear();
  outgoing_bytes_ = 0;
  if (std::exchange(is_answering_, false) && gone_) std::exchange(gone_, nullptr)();
  gone_ = nullptr;
}

// late: called unless something else is expected meanwhile.
void HttpConnection::expect(std::chrono::milliseconds most, void (HttpConnection::*late)()) {
  timer_.expires_after(most);
  timer_.async_wait([self = shared_from_this(), late, number = ++timed_](const Failure& failure) {
    if (!failure && number == self->timed_ && !self->is_closed_) ((*self).*late)();
  });
}

// --- a request comes -------------------------------------------------------------------------------------------------

void HttpConnection::wait_for_request() {
  is_reading_ = false;
  if (is_closed_) return;
  if (shared_->closes) return close();
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(shared_->limits.header_bytes));
  parser_->body_limit(shared_->limits.body_bytes);
  if (buffer_.size() > 0) return read_head();
  expect(shared_->limits.idle, &HttpConnection::close);
  stream_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](const Failure& failure, std::size_t bytes) {
                            if (failure) return self->close();
                            self->buffer_.commit(bytes);
                            self->read_head();
                          });
}

void HttpConnection::read_head() {
  is_reading_ = true;
  expect(shared_->limits.header, &HttpConnection::close);
  http::async_read_header(stream_, buffer_, *parser_, [self = shared_from_this()](const Failure& failure, std::size_t) {
    if (self->is_closed_) return;
    if (failure) return self->refuse_parsed(failure);
    const auto& head = self->parser_->get();
    self->is_head_ = head.method() == http::verb::head;
    self->is_chunked_ = head.version() >= 11;
    self->keeps_alive_ = self->parser_->keep_alive() && !self->shared_->closes;
    // Which of the two says where the next request begins is what attacks are made of (RFC 9112, 6.3).
    if (head.count(http::field::content_length) > 1 || head.count(http::field::transfer_encoding) > 1 ||
        (head.count(http::field::content_length) > 0 && head.count(http::field::transfer_encoding) > 0))
      return self->refuse(400, "the length of the body is given twice");
    // And a coding that is not known hides where the body ends.
    if (head.count(http::field::transfer_encoding) > 0 &&
        (head.version() < 11 || !boost::beast::iequals(head[http::field::transfer_encoding], "chunked")))
      return self->refuse(400, "the transfer coding of a body is chunked, or there is none");
    if (head.count(http::field::host) > 1) return self->refuse(400, "the request has Host twice");
    if (const auto length = self->parser_->content_length(); length && *length > self->shared_->limits.body_bytes)
      return self->refuse(413, "the body is too large");
    if (std::optional<HttpAnswer> refusal = self->shared_->handler->judge_head(self->head_of(false)))
      return self->write_last(*refusal);
    if (boost::beast::iequals(head[http::field::expect], "100-continue") && !self->parser_->is_done()) {
      static constexpr std::string_view kGoOn = "HTTP/1.1 100 Continue\r\n\r\n";
      return asio::async_write(self->stream_, asio::buffer(kGoOn), [self](const Failure& lost, std::size_t) {
        if (lost) return self->close();
        self->read_body();
      });
    }
    self->read_body();
  });
}

void HttpConnection::read_body() {
  if (is_closed_) return;
  if (parser_->is_done()) return take_request();
  expect(shared_->limits.body, &HttpConnection::close);
  http::async_read_some(stream_, buffer_, *parser_, [self = shared_from_this()](const Failure& failure, std::size_t) {
    if (self->is_closed_) return;
    if (failure) return self->refuse_parsed(failure);
    self->read_body();
  });
}

void HttpConnection::refuse_parsed(Failure failure) {
  if (failure == http::error::header_limit) return refuse(431, "the head of the request is too large");
  if (failure == http::error::body_limit) return refuse(413, "the body is too large");
  const bool is_http = failure.category() == make_error_code(http::error::bad_method).category();
  // A client that has left, or half a request.
  if (!is_http || failure == http::error::end_of_stream || failure == http::error::partial_message) return close();
  refuse(400, "not an HTTP/1.1 request: " + failure.message());
}

void HttpConnection::refuse(int status, std::string_view why) { write_last(shared_->handler->refuse(status, why)); }

void HttpConnection::write_last(const HttpAnswer& answer) {
  keeps_alive_ = false;
  ends_ = true;
  write(head_text(answer, false, answer.body.size()) + (is_head_ ? std::string() : answer.body));
}

HttpRequest HttpConnection::head_of(bool with_body) {
  auto& parsed = parser_->get();
  HttpRequest request;
  request.method = std::string(parsed.method_string());
  const std::string_view target(parsed.target().data(), parsed.target().size());
  const std::size_t mark = target.find('?');
  request.path = target.substr(0, mark);
  if (mark != std::string_view::npos) request.query = target.substr(mark + 1);
  for (const auto& field : parsed) {
    const auto name = field.name_string();
    request.headers.emplace_back(lower_case({name.data(), name.size()}), std::string(field.value()));
  }
  request.peer = peer_;
  if (with_body) request.body = std::move(parsed.body());
  return request;
}

void HttpConnection::take_request() {
  timer_.cancel();
  ++timed_;
  is_reading_ = false;
  is_answering_ = true;
  streams_ = false;
  ++exchange_;
  watch_client();
  shared_->handler->handle(head_of(true), std::make_shared<Exchange>(shared_from_this(), exchange_));
}

// Until the answer's end: whether the client is still there.
void HttpConnection::watch_client() {
  stream_.socket().async_wait(asio::ip::tcp::socket::wait_read,
                              [self = shared_from_this(), number = exchange_](const Failure& failure) {
                                if (!failure) self->look_for_client(number);
                              });
}

// More bytes are its next request. They lie there, and whoever waits for bytes is not told that it leaves later, so it
// is looked for from then on.
void HttpConnection::look_for_client(std::uint64_t exchange) {
  constexpr std::chrono::milliseconds kAgain{200};
  if (is_closed_ || !is_answering_ || exchange != exchange_) return;
  pollfd client{.fd = stream_.socket().native_handle(), .events = kHasGone, .revents = 0};
  if (poll(&client, 1, 0) > 0) return close();
  watch_timer_.expires_after(kAgain);
  watch_timer_.async_wait([self = shared_from_this(), exchange](const Failure& failure) {
    if (!failure) self->look_for_client(exchange);
  });
}

// --- an answer goes --------------------------------------------------------------------------------------------------

std::string HttpConnection::head_text(const HttpAnswer& answer, bool is_stream, std::size_t bytes) const {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\n", answer.status, reason_of(answer.status),
                                 answer.content_type);
  for (const auto& [name, value] : answer.headers) text += fmt::format("{}: {}\r\n", name, value);
  if (is_stream && is_chunked_)
    text += "Transfer-Encoding: chunked\r\n";
  else if (!is_stream && answer.status != 204 && answer.status != 304)  // no body, and no length (RFC 9110, 8.6)
    text += fmt::format("Content-Length: {}\r\n", bytes);
  text += keeps_alive_ && (!is_stream || is_chunked_) ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  if (std::ranges::none_of(answer.headers, [](const auto& header) { return header.first == "Cache-Control"; }))
    text += "Cache-Control: no-store\r\n";
  return text + "X-Content-Type-Options: nosniff\r\n\r\n";
}

void HttpConnection::answer(std::uint64_t exchange, HttpAnswer answer) {
  if (exchange != exchange_ || !is_answering_) return;
  if (streams_) return end_stream(exchange);
  if (shared_->closes) keeps_alive_ = false;
  std::string head = head_text(answer, false, answer.body.size());
  end_exchange();
  write(is_head_ ? std::move(head) : std::move(head) + answer.body);
}

void HttpConnection::begin_stream(std::uint64_t exchange, const HttpAnswer& head, std::string ping) {
  if (exchange != exchange_ || !is_answering_ || streams_) return;
  streams_ = true;
  ping_ = std::move(ping);
  if (shared_->closes || !is_chunked_) keeps_alive_ = false;
  write(head_text(head, true, 0));
  this->ping();
}

void HttpConnection::send(std::uint64_t exchange, std::string piece) {
  if (exchange != exchange_ || !is_answering_ || !streams_ || piece.empty()) return;
  if (outgoing_bytes_ + piece.size() > shared_->limits.outgoing_bytes) return close();
  write(is_chunked_ ? fmt::format("{:x}\r\n{}\r\n", piece.size(), piece) : std::move(piece));
  ping();
}

void HttpConnection::end_stream(std::uint64_t exchange) {
  if (exchange != exchange_ || !is_answering_ || !streams_) return;
  end_exchange();
  if (is_chunked_) return write("0\r\n\r\n");
  if (outgoing_.empty()) written();
}

void HttpConnection::on_gone(std::uint64_t exchange, std::function<void()> callback) {
  if (exchange == exchange_ && is_answering_)
    gone_ = std::move(callback);
  else if (is_closed_)
    callback();
}

// Nothing but what is still to be written follows.
void HttpConnection::end_exchange() {
  is_answering_ = false;
  gone_ = nullptr;
  ends_ = true;
  ping_timer_.cancel();
  watch_timer_.cancel();
}

void HttpConnection::ping() {
  if (ping_.empty()) return;
  ping_timer_.expires_after(shared_->limits.ping);
  ping_timer_.async_wait([self = shared_from_this(), number = exchange_](const Failure& failure) {
    if (!failure) self->send(number, self->ping_);
  });
}

void HttpConnection::write(std::string bytes) {
  if (is_closed_) return;
  outgoing_bytes_ += bytes.size();
  outgoing_.push_back(std::move(bytes));
  if (outgoing_.size() == 1) write_some();
}

void HttpConnection::write_some() {
  expect(shared_->limits.stall, &HttpConnection::close);
  stream_.async_write_some(asio::buffer(outgoing_.front().data() + offset_, outgoing_.front().size() - offset_),
                           [self = shared_from_this()](const Failure& failure, std::size_t bytes) {
                             if (self->is_closed_) return;
                             if (failure) return self->close();
                             self->offset_ += bytes;
                             self->outgoing_bytes_ -= bytes;
                             if (self->offset_ == self->outgoing_.front().size()) {
                               self->outgoing_.pop_front();
                               self->offset_ = 0;
                             }
                             if (!self->outgoing_.empty()) return self->write_some();
                             self->written();
                           });
}

void HttpConnection::written() {
  timer_.cancel();
  ++timed_;
  if (!std::exchange(ends_, false)) return;
  if (keeps_alive_ && !shared_->closes) return wait_for_request();
  linger();
}

void HttpConnection::linger() {
  expect(kLinger, &HttpConnection::close);
  stream_.async_end([self = shared_from_this()] { self->discard(); });
}

// A client that still sends would lose the answer with the connection, so what it sends is read for a while, whatever
// it is.
void HttpConnection::discard() {
  if (is_closed_) return;
  buffer_.clear();
  expect(kLinger, &HttpConnection::close);
  struct Discard {
    std::shared_ptr<HttpConnection> self;
    void operator()(const Failure& failure, std::size_t) {
      HttpConnection& c = *self;
      if (failure || c.is_closed_) return c.close();
      c.stream_.socket().async_read_some(c.buffer_.prepare(kReadBytes), std::move(*this));
    }
  };
  Discard{shared_from_this()}({}, 0);
}

}  // namespace nibble::serve
