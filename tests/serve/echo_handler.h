// SPDX-License-Identifier: Apache-2.0
//
// A handler that says back what it is given: "/held" and "/stream" are kept for the test to go on with, "/dropped" is
// answered by nobody, "/forbidden" refused by its head.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "serve/http/http_server.h"

namespace nibble::serve {

class Echo final : public HttpHandler {
 public:
  std::optional<HttpAnswer> judge_head(const HttpRequest& head) override {
    if (head.path == "/forbidden") return HttpAnswer{.status = 403, .body = "no"};
    return std::nullopt;
  }
  void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override {
    if (request.path == "/dropped") return;
    if (request.path == "/held") {
      exchange->on_gone([this] { count_gone(); });
      const std::lock_guard lock(mutex_);
      held_.push_back(std::move(exchange));
      return changed_.notify_all();
    }
    if (request.path == "/stream") {
      exchange->begin_stream({.content_type = "text/event-stream"}, ": ping\n\n");
      exchange->on_gone([this] { count_gone(); });
      const std::lock_guard lock(mutex_);
      held_.push_back(std::move(exchange));
      return changed_.notify_all();
    }
    exchange->answer({.content_type = "text/plain",
                      .body = request.method + " " + request.path + "?" + request.query + " " +
                              std::string(request.header("x-test")) + " " + request.body});
  }
  HttpAnswer refuse(int status, std::string_view why) override { return {.status = status, .body = std::string(why)}; }

  void note_unheard(std::string_view peer, std::string_view why) override {
    const std::lock_guard lock(mutex_);
    unheard_.push_back(std::string(peer) + ": " + std::string(why));
    changed_.notify_all();
  }

  // What was noted of clients that could not be heard, when there are so many.
  std::vector<std::string> wait_for_unheard(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(120), [&] { return unheard_.size() >= count; }));
    return unheard_;
  }
  std::shared_ptr<HttpExchange> wait_for_held() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(120), [&] { return !held_.empty(); }));
    if (held_.empty()) return nullptr;
    std::shared_ptr<HttpExchange> one = std::move(held_.back());
    held_.pop_back();
    return one;
  }
  void wait_for_gone(int count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(120), [&] { return gone_ >= count; }));
  }

 private:
  void count_gone() {
    const std::lock_guard lock(mutex_);
    ++gone_;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<HttpExchange>> held_;
  std::vector<std::string> unheard_;
  int gone_ = 0;
};

}  // namespace nibble::serve
