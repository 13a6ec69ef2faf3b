// SPDX-License-Identifier: Apache-2.0
#include "serve/load/load_run.h"

#include <gtest/gtest.h>

#include "serve/served_api.h"

namespace nibble::serve {
namespace {

TEST(Load, PercentilesAreValuesThatWereThere) {
  std::vector<double> values;
  for (int i = 100; i > 0; --i) values.push_back(i);
  EXPECT_EQ(percentiles_of(values).p50, 50);
  EXPECT_EQ(percentiles_of(values).p95, 95);
  EXPECT_EQ(percentiles_of(values).p99, 99);
  EXPECT_EQ(percentiles_of({3}).p50, 3);
  EXPECT_EQ(percentiles_of({3, 1}).p50, 1);
  EXPECT_EQ(percentiles_of({3, 1}).p99, 3);
  EXPECT_EQ(percentiles_of({}).p99, 0);
}

TEST(Load, GoesToThisMachineAlone) {
  EXPECT_EQ(parse_loopback_url("http://127.0.0.1:80/v1").port, 80);
  EXPECT_EQ(parse_loopback_url("http://localhost:8080").host, "127.0.0.1");
  EXPECT_EQ(parse_loopback_url("http://[::1]:8080/").host, "::1");
  for (const char* const other : {"http://example.org:80", "http://10.0.0.1:80", "http://127.0.0.1.example.org:80",
                                  "https://127.0.0.1:80", "127.0.0.1:80", "http://127.0.0.1", "http://[::1]",
                                  "http://127.0.0.1:0", "http://127.0.0.1:99999", "http://127.0.0.1:80x"})
    EXPECT_THROW(parse_loopback_url(other), Error) << other;
}

class Loaded : public Api {
 protected:
  LoadFigures run(const LoadSettings& settings) { return run_load({.port = server->port()}, settings); }
};

TEST_F(Loaded, EveryAnswerIsCounted) {
  start();
  const LoadFigures closed = run({.clients = 3, .requests = 7, .prompt_tokens = 9, .new_tokens = 5});
  EXPECT_EQ(closed.requests, 7u);
  EXPECT_EQ(closed.answered, 7u);
  EXPECT_EQ(closed.tokens, 35u);
  EXPECT_GT(closed.first_token.p50, 0);
  EXPECT_GE(closed.whole.p50, closed.first_token.p50);
  EXPECT_GE(closed.whole.p99, closed.whole.p50);
  EXPECT_NEAR(closed.tokens_per_second * closed.seconds, 35, 1e-6);
  // Prompts have nothing in common, and what asks first is not counted.
  EXPECT_EQ(scheduler->state().metrics.cached_tokens, 0u);
  EXPECT_EQ(scheduler->state().metrics.prompt_tokens, 8u * 9);
  const LoadFigures at_a_rate = run({.rate = 100, .requests = 8, .prompt_tokens = 3, .new_tokens = 2, .seed = 5});
  EXPECT_EQ(at_a_rate.answered, 8u);
  const LoadFigures slow =
      run({.clients = 2, .requests = 4, .prompt_tokens = 3, .new_tokens = 2, .most_first_token_seconds = 0});
  EXPECT_EQ(slow.good_share, 0);
}

TEST_F(Loaded, WhatIsRefusedOrFailsIsToldApart) {
  start({}, 1, 0);
  const LoadFigures refused = run({.clients = 6, .requests = 24, .prompt_tokens = 9, .new_tokens = 30});
  EXPECT_EQ(refused.answered + refused.refused, 24u);
  EXPECT_GT(refused.refused, 0u);
  const LoadFigures failed = run({.clients = 1, .requests = 2, .prompt_tokens = 400, .new_tokens = 5});
  EXPECT_EQ(failed.failed, 2u);
  const std::uint16_t port = server->port();
  server->stop(std::chrono::milliseconds(0));
  EXPECT_THROW(run_load({.port = port}, {.requests = 1}), Error);
  EXPECT_THROW(run_load({.port = port}, {.clients = 0}), Error);
}

TEST_F(Loaded, AKeyIsBrought) {
  AccessRules rules;
  rules.keys = {"secret"};
  start(rules);
  EXPECT_THROW(run({.requests = 1}), Error);
  EXPECT_EQ(run({.clients = 1, .requests = 1, .prompt_tokens = 3, .new_tokens = 2, .key = "secret"}).answered, 1u);
}

}  // namespace
}  // namespace nibble::serve
