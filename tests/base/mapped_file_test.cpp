// SPDX-License-Identifier: Apache-2.0
#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>

#include "base/scratch_directory.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, ShowsTheBytesAlsoAfterRelease) {
  ScratchDirectory scratch;
  const std::string text(100000, 'n');
  const MappedFile file(scratch.write("a", text));
  EXPECT_EQ(text_of(file), text);
  file.release(file.bytes());
  file.release(file.bytes().subspan(5, 10));
  EXPECT_EQ(text_of(file), text);
}

TEST(MappedFile, MovesAndEmptyFiles) {
  ScratchDirectory scratch;
  MappedFile a(scratch.write("a", "abc")), b(scratch.write("b", ""));
  EXPECT_TRUE(b.bytes().empty());
  b = std::move(a);
  EXPECT_EQ(text_of(b), "abc");
  const MappedFile c(std::move(b));
  EXPECT_EQ(text_of(c), "abc");
}

// A limit on addresses stands for a memory that is too small.
TEST(MappedFile, SaysHowMuchItAskedFor) {
#if NIBBLE_SANITIZED
  GTEST_SKIP() << "Optional: sanitizers need more addresses than this leaves";
#endif
  ScratchDirectory scratch;
  const auto path = scratch.write("large", "");
  std::filesystem::resize_file(path, std::uint64_t{1} << 36);  // without a byte on the disk
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  const rlimit small{rlim_t{1} << 35, before.rlim_max};
  setrlimit(RLIMIT_AS, &small);
  std::string message;
  try {
    const MappedFile file(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::resource);
    message = error.what();
  }
  setrlimit(RLIMIT_AS, &before);
  EXPECT_EQ(message,
            path.string() +
                ": cannot read: the system has no room to map a file of this size; raise the limit on addresses "
                "(ulimit -v) or end other programs: asked for 68719476736 bytes");
}

TEST(MappedFile, SaysWhyItCannotRead) {
  ScratchDirectory scratch;
  try {
    MappedFile file(scratch / "nothing");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::not_found);
    EXPECT_EQ(std::string(e.what()), (scratch / "nothing").string() + ": cannot read: No such file or directory");
  }
  try {
    MappedFile file(scratch.path());
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::io);
    EXPECT_EQ(std::string(e.what()), scratch.path().string() + ": cannot read: Is a directory");
  }
}

TEST(MappedFile, TellsWhetherItChanged) {
  ScratchDirectory scratch;
  const auto path = scratch.write("a", "abc");
  const MappedFile file(path);
  EXPECT_FALSE(file.has_changed());
  const auto later = std::filesystem::last_write_time(path) + std::chrono::milliseconds(20);
  scratch.write("a", "xyz");
  std::filesystem::last_write_time(path, later);
  EXPECT_TRUE(file.has_changed());
  const MappedFile again(path);
  EXPECT_FALSE(again.has_changed());
  std::filesystem::resize_file(path, 2);
  EXPECT_TRUE(again.has_changed());
  // A file that takes the name leaves the mapping as it is.
  const MappedFile third(path);
  std::filesystem::rename(scratch.write("b", "new"), path);
  EXPECT_FALSE(third.has_changed());
  EXPECT_EQ(text_of(third), "xy");
  std::filesystem::remove(path);
  EXPECT_FALSE(third.has_changed());
}

}  // namespace
}  // namespace nibble
