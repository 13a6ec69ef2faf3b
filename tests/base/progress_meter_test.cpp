// SPDX-License-Identifier: Apache-2.0
#include "base/progress_meter.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/thread_pool.h"
#include "nibble/error.h"

namespace nibble {
namespace {

TEST(ProgressMeter, LongPiecesAreReportedWhileTheyLastAndMayBeStopped) {
  std::vector<std::string> reports;
  const ProgressCallback callback = [&](const Progress& progress) {
    reports.push_back(std::string(progress.item) + " " + std::to_string(progress.done));
    return reports.size() < 4;
  };
  ProgressMeter meter(callback, "quantize", 10, "cancelled; nothing was written");
  ThreadPool pool(1);
  std::size_t chunks = 0;
  try {
    const auto watch = meter.watch(pool);
    meter.report(3, "blk.0");
    pool.parallel_for(1000, 1, [&](std::size_t, std::size_t, std::size_t) {
      ++chunks;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    });
    ADD_FAILURE() << "was not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
    EXPECT_STREQ(error.what(), "cancelled; nothing was written");
  }
  EXPECT_EQ(reports, std::vector<std::string>(4, "blk.0 3"));
  EXPECT_LT(chunks, 1000u);
}

TEST(ProgressMeter, SaysNothingOfAPoolThatItNoLongerWatches) {
  int reports = 0;
  const ProgressCallback callback = [&](const Progress&) { return ++reports < 1000; };
  ProgressMeter meter(callback, "quantize", 10);
  ThreadPool pool(2);
  {
    const auto watch = meter.watch(pool);
  }
  pool.parallel_for(1000, 1, [](std::size_t, std::size_t, std::size_t) {});
  EXPECT_EQ(reports, 0);
}

}  // namespace
}  // namespace nibble
