// SPDX-License-Identifier: Apache-2.0
#include "base/output_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/letter_case.h"
#include "nibble/error.h"

namespace nibble {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  throw Error(full ? ErrorKind::resource : ErrorKind::io, path.string() + ": " + what + ": " + std::strerror(error));
}

// Processes of other machines, and of other containers, may have the same number.
constexpr int kTries = 100;

// A name beside `path` that no other process here and no other call of this one uses.
std::filesystem::path partial_name(const std::filesystem::path& path) {
  static std::atomic<unsigned> counter{0};
  std::filesystem::path name = path;
  if (!name.has_filename()) name = name.parent_path();  // "dir/" and "dir" are the same
  name += ".partial-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
  return name;
}

void sync_path(const std::filesystem::path& path, int flags) {
  const int descriptor = open(path.c_str(), flags | O_CLOEXEC);
  if (descriptor < 0) fail(path, "cannot sync", errno);
  const int result = fsync(descriptor);
  const int error = errno;
  close(descriptor);
  if (result != 0 && error != EINVAL) fail(path, "cannot sync", error);
}

std::filesystem::path parent_of(const std::filesystem::path& path) {
  const auto parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

// What is written where `path` is named: links stay, and point to it.
std::filesystem::path behind_links(std::filesystem::path path) {
  constexpr int kMost = 40;  // as the system follows
  std::error_code error;
  for (int i = 0; i < kMost; ++i) {
    const std::filesystem::path link = path.has_filename() ? path : path.parent_path();
    if (!std::filesystem::is_symlink(link, error)) return path;
    const std::filesystem::path target = std::filesystem::read_symlink(link, error);
    if (error) return path;
    path = target.is_absolute() ? target : link.parent_path() / target;
  }
  fail(path, "cannot write", ELOOP);
}

}  // namespace

std::string lower_extension(const std::filesystem::path& path) { return lower_case(path.extension().string()); }

std::uint64_t free_disk_space(const std::filesystem::path& path) noexcept {
  try {
    const std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
    std::error_code error;
    const std::filesystem::space_info space =
        std::filesystem::space((whole.has_filename() ? whole : whole.parent_path()).parent_path(), error);
    if (!error) return space.available;
  } catch (const std::exception&) {  // the write itself will tell
  }
  return std::numeric_limits<std::uint64_t>::max();
}

void require_directory_of(const std::filesystem::path& path) {
  const std::filesystem::path parent = parent_of(path.has_filename() ? path : path.parent_path());
  std::error_code ignored;
  if (std::filesystem::is_directory(parent, ignored)) return;
  const char* const why = std::filesystem::exists(parent, ignored) ? "is no directory; choose another place: "
                                                                   : "is not there; create the directory first: ";
  throw Error(ErrorKind::io, path.string() + ": cannot write: what it would lie in " + why + parent.string());
}

bool is_replaceable_directory(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return true;
  if (!std::filesystem::is_directory(path, ignored)) return false;
  if (std::filesystem::is_empty(path, ignored)) return true;
  std::ifstream config(path / "config.json");
  const std::string text((std::istreambuf_iterator<char>(config)), std::istreambuf_iterator<char>());
  return std::filesystem::exists(path / "nibble_manifest.json", ignored) ||
         (text.find("\"quantization_config\"") != std::string::npos && text.find("\"nibble\"") != std::string::npos);
}

void require_disk_space(const std::filesystem::path& path, std::uint64_t bytes) {
  const std::uint64_t free = free_disk_space(path);
  if (free < bytes)
    throw Error(ErrorKind::resource, path.string() +
                                         ": the disk has too little room; free some or choose another place: needed " +
                                         std::to_string(bytes) + " bytes, free " + std::to_string(free));
}

void remove_abandoned_partials(const std::filesystem::path& path) noexcept {
  try {
    const std::string prefix = path.filename().string() + ".partial-";
    std::vector<std::filesystem::path> abandoned;
    for (const auto& entry : std::filesystem::directory_iterator(parent_of(path))) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(prefix)) continue;
      pid_t process = 0;
      const char* const first = name.data() + prefix.size();
      const auto [end, code] = std::from_chars(first, name.data() + name.size(), process);
      if (code != std::errc{} || end == first || end == name.data() + name.size() || *end != '-' || process <= 0)
        continue;
      if (kill(process, 0) != 0 && errno == ESRCH) abandoned.push_back(entry.path());
    }
    std::error_code ignored;
    for (const auto& entry : abandoned) std::filesystem::remove_all(entry, ignored);
  } catch (const std::exception&) {
    return;  // tidying up is no reason to stop
  }
}

OutputFile::OutputFile(std::filesystem::path path)
    : path_(behind_links(std::move(path))), temporary_(partial_name(path_)) {
  if (std::error_code ignored; std::filesystem::is_directory(path_, ignored)) fail(path_, "cannot write", EISDIR);
  require_directory_of(path_);
  for (int i = 0; i < kTries; ++i) {
    descriptor_ = open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ >= 0 || errno != EEXIST) break;
    temporary_ = partial_name(path_);
  }
  if (descriptor_ < 0) fail(path_, "cannot write", errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(std::exchange(other.size_, 0)) {}

void OutputFile::write(std::span<const std::byte> bytes) {
  write_at(size_, bytes);
  size_ += bytes.size();
}

void OutputFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void OutputFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail(path_, "cannot write", errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
}

void OutputFile::commit(bool sync) {
  if (sync && fsync(descriptor_) != 0) fail(path_, "cannot sync", errno);
  if (close(std::exchange(descriptor_, -1)) != 0) {
    const int error = errno;
    unlink(temporary_.c_str());
    fail(path_, "cannot write", error);
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    unlink(temporary_.c_str());
    fail(path_, "cannot rename the finished file into place", error);
  }
  if (sync) sync_path(parent_of(path_), O_RDONLY | O_DIRECTORY);
}

OutputDirectory::OutputDirectory(std::filesystem::path path)
    : path_(behind_links(std::move(path))), temporary_(partial_name(path_)) {
  if (!is_replaceable_directory(path_))
    throw Error(ErrorKind::io,
                path_.string() + ": exists and was not written by nibble; choose another output or remove it");
  require_directory_of(path_);
  std::error_code error;
  for (int i = 0; i < kTries && !std::filesystem::create_directory(temporary_, error) && !error; ++i)
    temporary_ = partial_name(path_);
  if (error) fail(path_, "cannot create", error.value());
}

OutputDirectory::~OutputDirectory() {
  std::error_code ignored;
  if (!committed_) std::filesystem::remove_all(temporary_, ignored);
}

void OutputDirectory::commit(bool sync) {
  if (!is_replaceable_directory(path_))
    throw Error(ErrorKind::io,
                path_.string() + ": appeared while writing and was not written by nibble; choose another output");
  if (sync) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(temporary_))
      if (entry.is_regular_file()) sync_path(entry.path(), O_RDONLY);
    sync_path(temporary_, O_RDONLY | O_DIRECTORY);
  }
  // A directory cannot be renamed over a full one: step the old one aside first, so that a failure can put it back.
  std::error_code error;
  const bool replacing = std::filesystem::exists(path_, error);
  const std::filesystem::path aside = partial_name(path_);
  if (replacing) {
    std::filesystem::rename(path_, aside, error);
    if (error) fail(path_, "cannot replace", error.value());
  }
  std::filesystem::rename(temporary_, path_, error);
  if (error) {
    std::error_code ignored;
    if (replacing) std::filesystem::rename(aside, path_, ignored);
    fail(path_, "cannot rename the finished directory into place", error.value());
  }
  committed_ = true;
  if (replacing) std::filesystem::remove_all(aside, error);
  if (sync) sync_path(parent_of(path_), O_RDONLY | O_DIRECTORY);
}

}  // namespace nibble
