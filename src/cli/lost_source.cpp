// SPDX-License-Identifier: Apache-2.0
//
// What runs inside the handler may call nothing that allocates or locks: system calls, and buffers on the stack.
#include "cli/lost_source.h"

#include "base/platform.h"

#if NIBBLE_LINUX
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#endif

namespace nibble::cli {

#if NIBBLE_LINUX

namespace {

constexpr std::size_t kPathBytes = 4096;
constexpr int kMostDescriptors = 4096;

struct Text {
  char bytes[kPathBytes + 64] = {};
  std::size_t size = 0;

  void add(const char* text) {
    for (; *text != '\0' && size + 1 < sizeof bytes; ++text) bytes[size++] = *text;
    bytes[size] = '\0';
  }
  void add(std::uint64_t number) {
    char digits[24];
    std::size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do digits[--at] = static_cast<char>('0' + number % 10);
    while ((number /= 10) != 0);
    add(digits + at);
  }
  void cut(std::size_t length) { bytes[size = length] = '\0'; }
};

void say(const char* text) {
  const ssize_t ignored = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(ignored);
}

// A line of /proc/self/maps: "7f00-7f10 r--p 00000000 08:01 123    /path". True when it is the mapping of the address
// and has a path.
bool names_file_of(const char* line, std::uintptr_t address, Text& path) {
  std::uintptr_t bounds[2] = {0, 0};
  for (int i = 0; i < 2; ++i) {
    for (; *line != '-' && *line != ' '; ++line) {
      if (*line == '\0') return false;
      bounds[i] = bounds[i] * 16 + static_cast<std::uintptr_t>(*line <= '9' ? *line - '0' : *line - 'a' + 10);
    }
    ++line;
  }
  if (address < bounds[0] || address >= bounds[1]) return false;
  while (*line != '\0' && *line != '/') ++line;
  path.cut(0);
  path.add(line);
  return path.size > 0;
}

void find_file_of(std::uintptr_t address, Text& path) {
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (maps < 0) return;
  char buffer[4096];
  Text line;
  ssize_t count = 0;
  while ((count = read(maps, buffer, sizeof buffer)) > 0)
    for (ssize_t i = 0; i < count; ++i) {
      if (buffer[i] != '\n') {
        const char one[2] = {buffer[i], '\0'};
        line.add(one);
        continue;
      }
      if (names_file_of(line.bytes, address, path)) {
        close(maps);
        return;
      }
      line.cut(0);
    }
  close(maps);
}

// A flat directory with all that is in it, or a file.
void remove_output(const char* path) {
  struct Entry {  // linux_dirent64
    std::uint64_t inode;
    std::int64_t offset;
    unsigned short bytes;
    unsigned char type;
    char name[1];
  };
  const int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) {
    unlink(path);
    return;
  }
  alignas(Entry) char buffer[4096];
  long count = 0;
  while ((count = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0)
    for (long at = 0; at < count;) {
      const auto* const entry = reinterpret_cast<const Entry*>(buffer + at);
      unlinkat(directory, entry->name, 0);  // "." and ".." refuse
      at += entry->bytes;
    }
  close(directory);
  rmdir(path);
}

// Outputs are open while they are written, under names that hold ".partial-" and this process's number.
void remove_open_outputs() {
  Text mark;
  mark.add(".partial-");
  mark.add(static_cast<std::uint64_t>(getpid()));
  mark.add("-");
  for (int descriptor = 3; descriptor < kMostDescriptors; ++descriptor) {
    Text link, path;
    link.add("/proc/self/fd/");
    link.add(static_cast<std::uint64_t>(descriptor));
    const ssize_t length = readlink(link.bytes, path.bytes, kPathBytes);
    if (length <= 0) continue;
    path.cut(static_cast<std::size_t>(length));
    const char* const found = std::strstr(path.bytes, mark.bytes);
    if (found == nullptr) continue;
    // The output's own name ends at the next slash, if it is a directory.
    const char* const slash = std::strchr(found, '/');
    if (slash != nullptr) path.cut(static_cast<std::size_t>(slash - path.bytes));
    remove_output(path.bytes);
  }
}

void on_lost_page(int, siginfo_t* info, void*) {
  static volatile sig_atomic_t is_ending = 0;
  if (is_ending != 0)
    for (;;) pause();  // another thread is at it
  is_ending = 1;
  Text path;
  find_file_of(reinterpret_cast<std::uintptr_t>(info->si_addr), path);
  remove_open_outputs();
  if (isatty(STDERR_FILENO) != 0) say("\r\x1b[K");  // the progress bar
  say("nibble: error: ");
  say(path.size > 0 ? path.bytes : "a file that is read");
  say(": became shorter while it was read, or its disk failed; nothing was written: run again when no one writes to "
      "it\n");
  _exit(1);
}

}  // namespace

void catch_lost_sources() {
  struct sigaction action{};
  action.sa_sigaction = on_lost_page;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

#else

// Which files are open, and which of them a page is of, Linux alone tells in a handler.
void catch_lost_sources() {}

#endif

}  // namespace nibble::cli
