// SPDX-License-Identifier: Apache-2.0
#include "serve/scheduler.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <atomic>
#include <thread>

#include "serve/requests.h"

namespace nibble::serve {
namespace {

using namespace std::chrono_literals;

// Long enough that a machine under load does not reach it.
constexpr auto kForever = 120s;

class Scheduled : public testing::Test, public ServedTale {
 protected:
  GenerationRequest asking(std::string_view text, std::size_t tokens) const {
    return {.prompt = encode(text), .max_tokens = tokens, .ignore_end = true};
  }
  SchedulerOptions options(std::size_t parallel, std::size_t queue) const {
    BatchLimits given = limits();
    given.most_sequences = parallel;
    return {.limits = given, .queue = queue};
  }
  Listener listener;
};

TEST_F(Scheduled, ManyThreadsGetWhatEachWouldGetAlone) {
  constexpr std::size_t kThreads = 6;
  {
    Scheduler scheduler(decoder, tokenizer, options(3, 64));
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] {
        for (std::size_t round = 0; round < 4; ++round)
          EXPECT_TRUE(scheduler.submit({asking("Tom went to the shop", 5 + i), asking("Lily had a hat", 7)},
                                       listener.callback(fmt::format("{},{},", i, round))));
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(scheduler.drain(kForever));
    EXPECT_FALSE(scheduler.submit({asking("Late", 1)}, listener.callback("late")));
    const SchedulerState state = scheduler.state();
    EXPECT_EQ(state.running + state.waiting, 0u);
    EXPECT_TRUE(state.drains);
    EXPECT_EQ(state.metrics.finished[static_cast<std::size_t>(FinishReason::length)], kThreads * 4 * 2);
    EXPECT_EQ(state.metrics.whole.count(), kThreads * 4 * 2);
    EXPECT_EQ(state.metrics.rejected, 1u);
    EXPECT_EQ(state.memory_in_use, state.memory_held);
  }
  for (std::size_t i = 0; i < kThreads; ++i)
    for (std::size_t round = 0; round < 4; ++round) {
      const std::string name = fmt::format("{},{},", i, round);
      EXPECT_EQ(listener.of(name + "0").text,
                alone("Tom went to the shop", {.max_tokens = 5 + i, .ignore_end = true}).text);
      EXPECT_EQ(listener.of(name + "1").text, alone("Lily had a hat", {.max_tokens = 7, .ignore_end = true}).text);
    }
}

TEST_F(Scheduled, AFullQueueRefusesAndTakesAllOfARequestOrNothing) {
  Scheduler scheduler(decoder, tokenizer, options(1, 2));
  EXPECT_EQ(scheduler.most_together(), 3u);
  const GenerationRequest endless = asking("Tom", 200);
  EXPECT_FALSE(scheduler.submit({endless, endless, endless, endless}, listener.callback("many")));
  const auto ticket = scheduler.submit({endless, endless}, listener.callback("two"));
  ASSERT_TRUE(ticket);
  EXPECT_FALSE(scheduler.submit({endless, endless}, listener.callback("more")));
  EXPECT_EQ(scheduler.state().metrics.rejected, 2u);
  scheduler.cancel(*ticket);
  EXPECT_TRUE(scheduler.drain(kForever));
  EXPECT_EQ(listener.of("two0").finish, FinishReason::cancelled);
  EXPECT_EQ(listener.of("two1").finish, FinishReason::cancelled);
}

TEST_F(Scheduled, WhatIsNotDoneInTimeIsCancelledByADrain) {
  Scheduler scheduler(decoder, tokenizer, options(2, 8));
  std::atomic<bool> goes_on = false;
  std::atomic<int> ended = 0;
  // A caller that holds the first step until the drain has given up.
  const auto slow = [&](const GenerationEvent& event) {
    if (event.finish) {
      EXPECT_EQ(event.finish, FinishReason::cancelled);
      ++ended;
    }
    while (!goes_on) std::this_thread::sleep_for(1ms);
  };
  ASSERT_TRUE(scheduler.submit({asking("Tom", 200), asking("Lily", 200), asking("She", 200)}, slow));
  std::thread later([&] {
    std::this_thread::sleep_for(20ms);
    goes_on = true;
  });
  EXPECT_FALSE(scheduler.drain(0ms));
  later.join();
  EXPECT_EQ(ended, 3);
}

TEST_F(Scheduled, EndsWithWhatIsNotDone) {
  {
    Scheduler scheduler(decoder, tokenizer, options(2, 8));
    ASSERT_TRUE(
        scheduler.submit({asking("Tom", 200), asking("Lily", 200), asking("She", 200)}, listener.callback("a")));
  }
  for (const char* const name : {"a0", "a1", "a2"}) EXPECT_TRUE(listener.of(name).finish) << name;
}

}  // namespace
}  // namespace nibble::serve
