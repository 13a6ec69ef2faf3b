// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace nibble {
namespace {

TEST(ThreadPool, EveryWorkerRunsOnceEachTime) {
  for (std::size_t threads : {1u, 2u, 5u}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.num_threads(), threads);
    std::vector<int> counts(threads);
    for (int i = 0; i < 200; ++i) pool.run([&](std::size_t worker) { ++counts[worker]; });
    for (int count : counts) EXPECT_EQ(count, 200);
  }
}

TEST(ThreadPool, ParallelForCoversEachIndexOnceInGrains) {
  for (std::size_t threads : {1u, 2u, 4u}) {
    ThreadPool pool(threads);
    for (std::size_t count : {0u, 1u, 15u, 16u, 17u, 1000u}) {
      std::vector<std::atomic<int>> seen(count);
      pool.parallel_for(count, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
        EXPECT_EQ(begin % 16, 0u);
        EXPECT_TRUE(end == count || end - begin == 16);
        for (std::size_t i = begin; i < end; ++i) ++seen[i];
      });
      for (const auto& n : seen) EXPECT_EQ(n.load(), 1);
    }
  }
}

TEST(ThreadPool, AnExceptionReachesTheCallerAndThePoolLivesOn) {
  for (std::size_t threads : {1u, 3u}) {
    ThreadPool pool(threads);
    EXPECT_THROW(pool.parallel_for(100, 1,
                                   [](std::size_t begin, std::size_t, std::size_t) {
                                     if (begin == 37) throw std::runtime_error("x");
                                   }),
                 std::runtime_error);
    std::atomic<int> sum{0};
    pool.parallel_for(10, 1, [&](std::size_t begin, std::size_t, std::size_t) { sum += static_cast<int>(begin); });
    EXPECT_EQ(sum.load(), 45);
  }
}

// More workers at once than this machine may have processors, calls of both kinds in turn, tasks from empty to uneven.
TEST(ThreadPool, CallsOfBothKindsFollowOneAnother) {
  ThreadPool pool(ThreadPoolOptions{.num_threads = 6, .processors = 4});
  std::atomic<std::size_t> rounds{0}, chunks{0}, sum{0};
  for (std::size_t i = 0; i < 2000; ++i) {
    pool.parallel_for(i % 40, 1, [&](std::size_t begin, std::size_t, std::size_t worker) {
      EXPECT_LT(worker, 4u);
      sum += begin;
      ++chunks;
    });
    if (i % 7 == 0) pool.run([&](std::size_t) { ++rounds; });
  }
  EXPECT_EQ(rounds.load(), 286u * 6);
  EXPECT_EQ(chunks.load(), 2000u / 40 * (39 * 40 / 2));
  EXPECT_EQ(sum.load(), 2000u / 40 * 9880);  // of i (i - 1) / 2 for i < 40
}

TEST(ThreadPool, EveryExceptionKindLeavesRoundsInOrder) {
  ThreadPool pool(ThreadPoolOptions{.num_threads = 4, .processors = 2});
  for (int i = 0; i < 50; ++i) {
    EXPECT_THROW(pool.run([](std::size_t worker) {
      if (worker == 3) throw std::runtime_error("x");
    }),
                 std::runtime_error);
    std::atomic<int> count{0};
    pool.run([&](std::size_t) { ++count; });
    EXPECT_EQ(count.load(), 4);
  }
}

TEST(ThreadPool, AWatchEndsWorkBetweenChunks) {
  for (std::size_t threads : {1u, 2u, 4u}) {
    ThreadPool pool(threads);
    std::atomic<int> looks{0};
    int others = 0;
    const ThreadPool::Watch other(pool, [&] { ++others; });
    {
      const ThreadPool::Watch watch(pool, [&] {
        if (++looks == 5) throw std::runtime_error("enough");
      });
      std::atomic<std::size_t> chunks{0};
      // Others take few until the caller has looked, who might come late.
      const auto count_chunks = [&](std::size_t, std::size_t, std::size_t worker) {
        ++chunks;
        if (worker != 0)
          while (looks < 5 && chunks < 1000) std::this_thread::yield();
      };
      EXPECT_THROW(pool.parallel_for(100000, 1, count_chunks), std::runtime_error);
      EXPECT_LT(chunks.load(), 2000u) << threads;
      EXPECT_EQ(looks.load(), 5);
      EXPECT_EQ(others, 0);
    }
    std::atomic<int> sum{0};
    pool.parallel_for(10, 1, [&](std::size_t begin, std::size_t, std::size_t) { sum += static_cast<int>(begin); });
    EXPECT_EQ(sum.load(), 45);
    EXPECT_GT(others, 0);
    EXPECT_EQ(looks.load(), 5);
  }
}

}  // namespace
}  // namespace nibble
