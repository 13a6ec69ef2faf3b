// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
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
    EXPECT_THROW(pool.parallel_for(100, 1, [](std::size_t begin, std::size_t, std::size_t) { if (begin == 37) throw std::runtime_error("x"); }),
                 std::runtime_error);
    std::atomic<int> sum{0};
    pool.parallel_for(10, 1, [&](std::size_t begin, std::size_t, std::size_t) { sum += static_cast<int>(begin); });
    EXPECT_EQ(sum.load(), 45);
  }
}

TEST(ThreadPool, SomeProcessorIsAvailable) { EXPECT_GE(available_processors(), 1u); }

}  // namespace
}  // namespace nibble
