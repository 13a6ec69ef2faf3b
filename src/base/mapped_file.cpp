// SPDX-License-Identifier: Apache-2.0
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "base/platform.h"
#include "nibble/error.h"

namespace nibble {
namespace {

const timespec& change_time(const struct stat& status) {
#if NIBBLE_APPLE
  return status.st_mtimespec;
#else
  return status.st_mtim;
#endif
}

[[noreturn]] void fail(const std::filesystem::path& path, int error) {
  const ErrorKind kind = error == ENOENT ? ErrorKind::not_found : ErrorKind::io;
  throw Error(kind, path.string() + ": cannot read: " + std::strerror(error));
}

[[noreturn]] void fail_to_map(const std::filesystem::path& path, std::size_t bytes, int error) {
  if (error != ENOMEM) fail(path, error);
  throw Error(ErrorKind::resource,
              path.string() +
                  ": cannot read: the system has no room to map a file of this size; raise the limit on addresses "
                  "(ulimit -v) or end other programs: asked for " +
                  std::to_string(bytes) + " bytes");
}

// The whole pages inside a range; empty when there are none.
std::span<std::byte> whole_pages(std::span<const std::byte> range) {
  static const std::uintptr_t page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const std::uintptr_t start = reinterpret_cast<std::uintptr_t>(range.data());
  const std::uintptr_t first = (start + page - 1) / page * page, last = (start + range.size()) / page * page;
  if (last <= first) return {};
  return {reinterpret_cast<std::byte*>(first), last - first};
}

}  // namespace

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  const int descriptor = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe may have no writer
  if (descriptor < 0) fail(path_, errno);
  struct stat status{};
  if (fstat(descriptor, &status) != 0 || S_ISDIR(status.st_mode)) {
    const int error = S_ISDIR(status.st_mode) ? EISDIR : errno;
    close(descriptor);
    fail(path_, error);
  }
  if (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)) {
    close(descriptor);
    fail(path_, ESPIPE);
  }
  size_ = static_cast<std::size_t>(status.st_size);
  const timespec& time = change_time(status);
  stamp_ = {static_cast<std::uint64_t>(status.st_dev), status.st_ino, size_, time.tv_sec, time.tv_nsec};
  if (size_ != 0) {
    void* mapped = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (mapped == MAP_FAILED) {
      const int error = errno;
      close(descriptor);
      fail_to_map(path_, size_, error);
    }
    data_ = static_cast<const std::byte*>(mapped);
  }
  close(descriptor);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      stamp_(other.stamp_),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(stamp_, other.stamp_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

bool MappedFile::has_changed() const noexcept {
  struct stat status{};
  if (stat(path_.c_str(), &status) != 0) return false;  // gone from its name, which leaves the mapping whole
  if (static_cast<std::uint64_t>(status.st_dev) != stamp_.device || status.st_ino != stamp_.inode)
    return false;  // another file took its name
  const timespec& time = change_time(status);
  return static_cast<std::uint64_t>(status.st_size) != stamp_.size || time.tv_sec != stamp_.seconds ||
         time.tv_nsec != stamp_.nanoseconds;
}

void MappedFile::will_need(std::span<const std::byte> range) const noexcept {
  const auto pages = whole_pages(range);
  if (!pages.empty()) madvise(pages.data(), pages.size(), MADV_WILLNEED);
}

void MappedFile::release(std::span<const std::byte> range) const noexcept {
  const auto pages = whole_pages(range);
  if (!pages.empty()) madvise(pages.data(), pages.size(), MADV_DONTNEED);
}

}  // namespace nibble
