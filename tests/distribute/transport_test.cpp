// SPDX-License-Identifier: Apache-2.0
#include "distribute/transport.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "distribute/thread_transport.h"

namespace nibble {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Transport, SharesCoverAllOnce) {
  for (const std::size_t count : {0, 1, 5, 16, 17, 1000})
    for (const std::size_t size : {1, 2, 3, 7, 40}) {
      EXPECT_EQ(begin_of_share(count, 0, size), 0u);
      EXPECT_EQ(begin_of_share(count, size, size), count);
      for (std::size_t rank = 0; rank < size; ++rank) {
        const std::size_t share = begin_of_share(count, rank + 1, size) - begin_of_share(count, rank, size);
        EXPECT_GE(share, count / size);
        EXPECT_LE(share, count / size + 1);
      }
    }
}

TEST(Transport, OneAloneHearsItself) {
  AloneTransport alone;
  EXPECT_FALSE(is_shared(&alone));
  EXPECT_FALSE(is_shared(nullptr));
  EXPECT_EQ(text_of(alone.all_gather(bytes_of("abc"), "").front()), "abc");
  EXPECT_EQ(text_of(alone.broadcast(bytes_of("abc"), 0, "")), "abc");
  EXPECT_EQ(alone.gather(bytes_of(""), "").front(), Bytes{});
}

TEST(Transport, EveryoneGetsWhatIsSentToThemInTheOrderOfRanks) {
  for (const std::size_t size : {1, 2, 3, 5})
    run_ranks(size, {}, [&](Transport& ranks) {
      for (std::size_t turn = 0; turn < 20; ++turn) {
        std::vector<std::string> texts;
        std::vector<std::span<const std::byte>> to;
        for (std::size_t other = 0; other < size; ++other)
          texts.push_back(std::string(turn * other, 'x') + std::to_string(ranks.rank()) + ">" + std::to_string(other));
        for (const std::string& text : texts) to.push_back(bytes_of(text));
        const std::vector<Bytes> received = ranks.exchange(to, "texts");
        ASSERT_EQ(received.size(), size);
        for (std::size_t other = 0; other < size; ++other)
          EXPECT_EQ(text_of(received[other]),
                    std::string(turn * ranks.rank(), 'x') + std::to_string(other) + ">" + std::to_string(ranks.rank()));
        const std::string own = "of " + std::to_string(ranks.rank());
        const std::vector<Bytes> gathered = ranks.gather(bytes_of(own), "own");
        EXPECT_EQ(gathered.size(), ranks.is_root() ? size : 0u);
        if (ranks.is_root()) {
          EXPECT_EQ(text_of(gathered.back()), "of " + std::to_string(size - 1));
        }
        EXPECT_EQ(text_of(ranks.broadcast(bytes_of(own), size - 1, "own")), "of " + std::to_string(size - 1));
      }
    });
}

TEST(Transport, AnErrorOfOneIsTheErrorOfAll) {
  std::mutex mutex;
  std::vector<std::string> heard;
  EXPECT_EQ(error_of([&] {
              run_ranks(4, {}, [&](Transport& ranks) {
                ranks.wait_for_all("the beginning");
                if (ranks.rank() == 2) throw Error(ErrorKind::corrupt, "a weight is NaN");
                const std::string message = error_of([&] { ranks.wait_for_all("the end"); });
                EXPECT_TRUE(ranks.has_failed());
                EXPECT_FALSE(ranks.is_lost());
                const std::scoped_lock lock(mutex);
                heard.push_back(message);
              });
            }),
            "a weight is NaN");
  EXPECT_EQ(heard, std::vector<std::string>(3, "rank 2: a weight is NaN"));
}

TEST(Transport, WhoIsLateIsNamedAndAtLastNotWaitedFor) {
  std::mutex mutex;
  std::vector<std::string> notes;
  std::atomic<bool> is_over = false;
  TransportOptions options{.patience = std::chrono::milliseconds(20),
                           .limit = std::chrono::milliseconds(200),
                           .note = [&](const std::string& text) {
                             const std::scoped_lock lock(mutex);
                             notes.push_back(text);
                           }};
  std::vector<std::string> errors;
  error_of([&] {
    run_ranks(3, options, [&](Transport& ranks) {
      if (ranks.rank() == 0) {
        while (!is_over) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return;
      }
      const std::string message = error_of([&] { ranks.wait_for_all("sums of layer 3"); });
      EXPECT_TRUE(ranks.is_lost());
      const std::scoped_lock lock(mutex);
      errors.push_back(message);
      if (errors.size() == 2) is_over = true;
    });
  });
  ASSERT_FALSE(notes.empty());
  for (const std::string& note : notes) {
    EXPECT_TRUE(note.starts_with("rank 1 waits for rank 0 since ")) << note;
    EXPECT_TRUE(note.ends_with(" s: sums of layer 3")) << note;
  }
  ASSERT_EQ(errors.size(), 2u);
  for (const std::string& error : errors) EXPECT_NE(error.find("waits for rank 0 since"), std::string::npos) << error;
}

TEST(Transport, WhoComesWhenOthersHaveLeftReadsNothingOfTheirs) {
  const TransportOptions options{.patience = std::chrono::milliseconds(20), .limit = std::chrono::milliseconds(60)};
  std::atomic<std::size_t> num_left = 0;
  std::string late;
  error_of([&] {
    run_ranks(3, options, [&](Transport& ranks) {
      if (ranks.rank() == 0) {
        while (num_left != 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        late = error_of([&] { ranks.wait_for_all("sums of layer 3"); });
        EXPECT_TRUE(ranks.is_lost());
        return;
      }
      const std::string mine(std::size_t{1} << 20, 'x');
      error_of([&] { ranks.all_gather(bytes_of(mine), "sums of layer 3"); });
      ++num_left;
    });
  });
  EXPECT_NE(late.find("waits for rank 0 since"), std::string::npos) << late;
}

}  // namespace
}  // namespace nibble
