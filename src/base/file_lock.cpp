// SPDX-License-Identifier: Apache-2.0
#include "base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "nibble/error.h"

namespace nibble {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, int error) {
  throw Error(ErrorKind::io, path.string() + ": cannot lock: " + std::generic_category().message(error));
}

// 0: it is locked, or there are no locks, where everybody gets what is asked for. EWOULDBLOCK: others have it.
int lock_error(int descriptor, FileLock::Kind kind) {
  for (;;) {
    if (flock(descriptor, (kind == FileLock::Kind::shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return 0;
    if (errno == EINTR) continue;
    return errno == ENOSYS || errno == ENOLCK || errno == EOPNOTSUPP ? 0 : errno;
  }
}

// Whether the name still means the file that is open.
bool is_in_place(int descriptor, const std::filesystem::path& path) {
  struct stat open_file{}, named{};
  return fstat(descriptor, &open_file) == 0 && stat(path.c_str(), &named) == 0 && open_file.st_dev == named.st_dev &&
         open_file.st_ino == named.st_ino;
}

}  // namespace

std::optional<FileLock> FileLock::take(const std::filesystem::path& path, Kind kind) {
  constexpr int kTries = 100;  // others may remove it again and again
  for (int i = 0; i < kTries; ++i) {
    const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0) fail(path, errno);
    FileLock lock(descriptor);
    const int error = lock_error(descriptor, kind);
    if (error == EWOULDBLOCK) return std::nullopt;
    if (error != 0) fail(path, error);
    if (is_in_place(descriptor, path)) return lock;
  }
  return std::nullopt;
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

bool FileLock::become_exclusive() noexcept { return lock_error(descriptor_, Kind::exclusive) == 0; }

}  // namespace nibble
