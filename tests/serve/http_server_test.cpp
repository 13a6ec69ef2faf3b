// SPDX-License-Identifier: Apache-2.0
//
// The network alone, with a handler that says back what it is given.
#include "serve/http/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/error_kind.h"
#include "serve/echo_handler.h"
#include "serve/raw_client.h"

namespace nibble::serve {
namespace {

using namespace std::chrono_literals;

class Http : public testing::Test {
 protected:
  void start(HttpLimits limits = {}) {
    server.emplace(HttpAddress{.port = 0}, limits, echo);
    server->start();
  }
  void SetUp() override {
    if (!has_http_server()) GTEST_SKIP() << "Optional: built without Boost";
  }
  std::uint16_t port() const { return server->port(); }

  Echo echo;
  std::optional<HttpServer> server;
};

TEST_F(Http, RequestsOfOneConnectionAreAnsweredInTurn) {
  start();
  RawClient client(port());
  client.send_request("GET", "/a?x=1", "", "X-Test: yes\r\n");
  RawAnswer answer = client.read_answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "GET /a?x=1 yes ");
  EXPECT_EQ(answer.headers["content-type"], "text/plain");
  EXPECT_EQ(answer.headers["connection"], "keep-alive");
  // Two at once, and a body in pieces.
  client.send(
      "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloPOST /c HTTP/1.1\r\nHost: x\r\n"
      "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  EXPECT_EQ(client.read_answer().body, "POST /b?  hello");
  client.send("2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(client.read_answer().body, "POST /c?  abcde");
  client.send("HEAD /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  answer = client.read_answer(false);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers["content-length"], "10");
  EXPECT_EQ(answer.headers["connection"], "close");
  EXPECT_EQ(client.read_rest(), "");
}

TEST_F(Http, ABodyIsAskedForOnlyWhereItIsWanted) {
  start();
  RawClient client(port());
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_through("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ok");
  EXPECT_EQ(client.read_answer().body, "POST /a?  ok");
  client.send("POST /forbidden HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  RawAnswer answer = client.read_answer();
  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(answer.headers["connection"], "close");
  EXPECT_EQ(client.read_rest(), "");
}

// One defect each.
TEST_F(Http, BadHeadsAreRefused) {
  start({.header_bytes = 1000, .body_bytes = 100});
  const auto status_of = [&](const std::string& text) {
    RawClient client(port());
    client.send(text);
    const RawAnswer answer = client.read_answer();
    EXPECT_EQ(client.read_rest(), "") << text;  // and nothing more is taken from there
    return answer.status;
  };
  EXPECT_EQ(status_of("nonsense\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET /\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/9.9\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHo st: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\x01z\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\nhello"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), 400);
  const std::string both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: x\r\n" + both), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 400);
  for (const char* const coding : {"gzip", "xchunked", "chunked, gzip", "gzip, chunked", "identity"})
    EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + std::string(coding) +
                        "\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n"),
              400);
  EXPECT_EQ(status_of("POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n"), 431);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n"), 413);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n70\r\n" + std::string(112, 'x') +
                      "\r\n0\r\n\r\n"),
            413);
  EXPECT_EQ(ask(port(), "GET", "/still").status, 200);
}

TEST_F(Http, AHugeBodyGetsItsAnswerBeforeItIsSent) {
  start({.body_bytes = 1000});
  RawClient client(port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n");
  client.send(std::string(4'000'000, 'x'));
  EXPECT_EQ(client.read_answer().status, 413);
}

TEST_F(Http, WhoDoesNotGoOnIsGivenUp) {
  start({.header = 30ms, .body = 30ms, .idle = 30ms});
  RawClient silent(port()), slow_head(port()), slow_body(port());
  slow_head.send("GET / HT");
  slow_body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");
  EXPECT_EQ(silent.read_rest(), "");
  EXPECT_EQ(slow_head.read_rest(), "");
  EXPECT_EQ(slow_body.read_rest(), "");
}

TEST_F(Http, StreamsComeInChunksAndArePinged) {
  start({.ping = 5ms});
  RawClient client(port());
  client.send_request("GET", "/stream");
  RawAnswer head = client.read_head();
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers["transfer-encoding"], "chunked");
  EXPECT_EQ(client.read_chunk(), ": ping\n\n");
  const auto exchange = echo.wait_for_held();
  exchange->send("data: 1\n\n");
  std::string chunk = client.read_chunk();
  while (chunk == ": ping\n\n") chunk = client.read_chunk();
  EXPECT_EQ(chunk, "data: 1\n\n");
  exchange->end_stream();
  exchange->send("late");
  exchange->answer({.body = "later"});
  while (chunk == ": ping\n\n" || chunk == "data: 1\n\n") chunk = client.read_chunk();
  EXPECT_EQ(chunk, "");
  client.send_request("GET", "/next");
  EXPECT_EQ(client.read_answer().body, "GET /next?  ");
  // A client of before chunks.
  RawClient old(port());
  old.send("GET /stream HTTP/1.0\r\nHost: x\r\n\r\n");
  EXPECT_EQ(old.read_head().headers["connection"], "close");
  const auto other = echo.wait_for_held();
  other->send("data: 2\n\n");
  other->end_stream();
  EXPECT_NE(old.read_rest().find("data: 2\n\n"), std::string::npos);
}

TEST_F(Http, WhoLeavesIsNoticed) {
  start();
  int gone = 0;
  for (const char* const path : {"/held", "/stream"})
    for (const int way : {0, 1, 2, 3}) {
      RawClient client(port());
      client.send_request("GET", path);
      const auto exchange = echo.wait_for_held();
      const bool breaks_off = way % 2 == 1, begins_another = way >= 2;
      if (begins_another) client.send("G");
      breaks_off ? client.break_off() : client.leave();
      echo.wait_for_gone(++gone);
      exchange->answer({.body = "for nobody"});
    }
  EXPECT_EQ(ask(port(), "GET", "/still").status, 200);
}

TEST_F(Http, ASlowReaderIsGivenUp) {
  start({.outgoing_bytes = 100'000, .stall = 100ms});
  RawClient client(port(), 4096);
  client.send_request("GET", "/stream");
  const auto exchange = echo.wait_for_held();
  for (int i = 0; i < 1000; ++i) exchange->send(std::string(10'000, 'x'));
  echo.wait_for_gone(1);
  // And one whose answer is whole.
  RawClient other(port(), 4096);
  other.send_request("GET", "/held");
  echo.wait_for_held()->answer({.body = std::string(20'000'000, 'x')});
  for (int i = 0; i < 2000 && server->connections() > 0; ++i) std::this_thread::sleep_for(20ms);
  EXPECT_EQ(server->connections(), 0u);
}

TEST_F(Http, ARequestThatNobodyAnswersIsAnError) {
  start();
  EXPECT_EQ(ask(port(), "GET", "/dropped").status, 500);
}

TEST_F(Http, NoMoreConnectionsThanAllowed) {
  start({.connections = 2});
  RawClient one(port()), two(port());
  one.send_request("GET", "/a");
  two.send_request("GET", "/b");
  EXPECT_EQ(one.read_answer().status, 200);
  EXPECT_EQ(two.read_answer().status, 200);
  RawClient three(port());
  three.send_request("GET", "/c");
  EXPECT_EQ(three.read_rest(), "");
  one.leave();
  RawAnswer answer;
  for (int i = 0; i < 1000 && answer.status != 200; ++i) answer = ask(port(), "GET", "/d");
  EXPECT_EQ(answer.status, 200);
}

TEST_F(Http, WhatWasBegunIsAnsweredWhenItCloses) {
  start();
  RawClient idle(port()), busy(port());
  idle.send_request("GET", "/a");
  EXPECT_EQ(idle.read_answer().status, 200);
  busy.send_request("GET", "/held");
  const auto exchange = echo.wait_for_held();
  server->close();
  EXPECT_EQ(idle.read_rest(), "");
  EXPECT_FALSE(RawClient(port()).send("GET / HTTP/1.1\r\n\r\n") && ask(port(), "GET", "/late").status != 0);
  exchange->answer({.body = "done"});
  RawAnswer answer = busy.read_answer();
  EXPECT_EQ(answer.body, "done");
  EXPECT_EQ(answer.headers["connection"], "close");
  busy.leave();
  server->stop(120s);
  EXPECT_EQ(server->connections(), 0u);
  exchange->answer({.body = "too late"});
}

TEST_F(Http, AddressesThatCannotBeListenedOnAreNamed) {
  EXPECT_EQ(kind_of([&] { HttpServer({.host = "no such host"}, {}, echo); }), ErrorKind::invalid_argument);
  start();
  EXPECT_EQ(kind_of([&] { HttpServer({.port = port()}, {}, echo); }), ErrorKind::io);
}

}  // namespace
}  // namespace nibble::serve
