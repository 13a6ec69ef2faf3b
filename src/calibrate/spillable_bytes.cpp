// SPDX-License-Identifier: Apache-2.0
#include "calibrate/spillable_bytes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "base/platform.h"
#include "nibble/error.h"

namespace nibble {
namespace {

[[noreturn]] void fail(const std::filesystem::path& directory, std::size_t size, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG || error == ENOMEM;
  throw Error(full ? ErrorKind::resource : ErrorKind::io,
              fmt::format("{}: cannot keep the hidden states of the calibration text there; make room, take fewer "
                          "samples or keep them in "
                          "memory: {}; bytes: {}",
                          directory.string(), std::system_category().message(error), size));
}

int open_nameless(const std::filesystem::path& directory) {
#if NIBBLE_LINUX
  const int descriptor = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return descriptor;
#endif
  // The system or its file system knows no files without a name: this one loses its own at once.
  std::string name = (directory / ".nibble-XXXXXX").string();
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) unlink(name.c_str());
  return named;
}

// Disk space for so many bytes; an error's number.
int make_room(int descriptor, std::size_t size) {
#if NIBBLE_LINUX
  return posix_fallocate(descriptor, 0, static_cast<off_t>(size));
#else
  return ftruncate(descriptor, static_cast<off_t>(size)) == 0 ? 0 : errno;
#endif
}

}  // namespace

SpillableBytes::SpillableBytes(std::size_t size, const std::filesystem::path& directory) : size_(size) {
  if (size == 0) return;
  if (directory.empty()) {
    memory_ = ResidentBytes(size);
    return;
  }
  const int descriptor = open_nameless(directory);
  if (descriptor < 0) fail(directory, size, errno);
  int error = make_room(descriptor, size);
  void* const memory = error != 0 ? MAP_FAILED : mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (error == 0 && memory == MAP_FAILED) error = errno;
  close(descriptor);
  if (error != 0) fail(directory, size, error);
  file_ = {static_cast<std::byte*>(memory), Unmap{size}};
}

void SpillableBytes::release(std::size_t begin, std::size_t count) const noexcept {
  if (!file_) return;
  // What neighbours share is kept. The system writes dirty pages out in its own time.
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t first = (begin + page - 1) / page * page, last = (begin + count) / page * page;
  if (first < last) madvise(file_.get() + first, last - first, MADV_DONTNEED);
}

void SpillableBytes::Unmap::operator()(std::byte* memory) const noexcept { munmap(memory, size); }

}  // namespace nibble
