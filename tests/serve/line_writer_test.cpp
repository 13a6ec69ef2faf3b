// SPDX-License-Identifier: Apache-2.0
#include "serve/line_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "serve/api/served_model.h"

namespace nibble::serve {
namespace {

class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe(ends_.data()), 0); }
  ~Pipe() {
    close_writing();
    ::close(ends_[0]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int writing() const { return ends_[1]; }
  void close_writing() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  std::string read_some() const {
    std::array<char, 4096> bytes{};
    const ssize_t count = ::read(ends_[0], bytes.data(), bytes.size());
    return {bytes.data(), static_cast<std::size_t>(count > 0 ? count : 0)};
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

TEST(LineWriter, WritesLinesInTheirOrderBeforeItEnds) {
  Pipe pipe;
  {
    LineWriter lines(pipe.writing());
    lines.add("one");
    lines.add("two");
  }
  pipe.close_writing();
  EXPECT_EQ(pipe.read_some(), "one\ntwo\n");
}

// Far more than a pipe holds, and nobody reads: whoever adds goes on.
TEST(LineWriter, LosesAndCountsWhatNobodyReads) {
  Pipe pipe;
  std::string all;
  {
    LineWriter lines(pipe.writing(), 10);
    const std::string line(10'000, 'x');
    for (int i = 0; i < 1000; ++i) lines.add(line);
    while (all.find("lines_lost") == std::string::npos) {
      const std::string more = pipe.read_some();
      ASSERT_FALSE(more.empty());
      all += more;
    }
  }
  EXPECT_NE(all.find("\n{\"event\":\"lines_lost\",\"lines\":9"), std::string::npos);
}

TEST(ServedModel, IsCalledLikeItsDirectoryOrFile) {
  for (const char* const path :
       {"/m/Llama-3.2-1B", "/m/Llama-3.2-1B/", "/m/Llama-3.2-1B.gguf", "/m/x/../Llama-3.2-1B/."})
    EXPECT_EQ(default_model_name(path), "Llama-3.2-1B") << path;
}

}  // namespace
}  // namespace nibble::serve
