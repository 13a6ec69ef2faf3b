// SPDX-License-Identifier: Apache-2.0
#include "base/file_lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/scratch_directory.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Kind = FileLock::Kind;

TEST(FileLock, OneAloneOrSeveralThatShare) {
  const ScratchDirectory scratch;
  {
    const auto alone = FileLock::take(scratch / "lock", Kind::exclusive);
    ASSERT_TRUE(alone);
    EXPECT_FALSE(FileLock::take(scratch / "lock", Kind::exclusive));
    EXPECT_FALSE(FileLock::take(scratch / "lock", Kind::shared));
  }
  auto one = FileLock::take(scratch / "lock", Kind::shared);
  ASSERT_TRUE(one);
  {
    const auto other = FileLock::take(scratch / "lock", Kind::shared);
    EXPECT_TRUE(other);
    EXPECT_FALSE(FileLock::take(scratch / "lock", Kind::exclusive));
    EXPECT_FALSE(one->become_exclusive());
  }
  one = FileLock::take(scratch / "lock", Kind::shared);
  ASSERT_TRUE(one);
  EXPECT_TRUE(one->become_exclusive());
  EXPECT_FALSE(FileLock::take(scratch / "lock", Kind::shared));
}

TEST(FileLock, IsFreeWhenItsProcessIsKilled) {
  const ScratchDirectory scratch;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = FileLock::take(scratch / "lock", Kind::exclusive);
    const char told = lock ? 'y' : 'n';
    if (write(ready[1], &told, 1) == 1) pause();
    _exit(0);
  }
  char told = 0;
  ASSERT_EQ(read(ready[0], &told, 1), 1);
  EXPECT_EQ(told, 'y');
  EXPECT_FALSE(FileLock::take(scratch / "lock", Kind::exclusive));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(FileLock::take(scratch / "lock", Kind::exclusive));
  close(ready[0]);
  close(ready[1]);
}

TEST(FileLock, AFileThatIsRemovedIsNobodysLockAnyMore) {
  const ScratchDirectory scratch;
  const auto old = FileLock::take(scratch / "lock", Kind::exclusive);
  ASSERT_TRUE(old);
  std::filesystem::remove(scratch / "lock");
  EXPECT_TRUE(FileLock::take(scratch / "lock", Kind::exclusive));
}

TEST(FileLock, SaysWhereItCannotBeMade) {
  const ScratchDirectory scratch;
  try {
    FileLock::take(scratch / "missing/lock", Kind::shared);
    FAIL() << "made a file in no directory";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_NE(std::string(error.what()).find("missing/lock: cannot lock: No such file"), std::string::npos);
  }
}

}  // namespace
}  // namespace nibble
