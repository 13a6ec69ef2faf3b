// SPDX-License-Identifier: Apache-2.0
#include "terminal/input_history.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/output_file.h"
#include "base/utf8.h"

namespace nibble {

namespace {

constexpr std::size_t kMostEntries = 1000;         // that are read
constexpr std::size_t kLongestEntry = 64 * 1024;   // bytes in the file
constexpr std::uintmax_t kLongestFile = 16 << 20;  // beyond it is no history of ours

std::string as_line(std::string_view text) {
  std::string line;
  for (const char c : text) line += c == '\n' ? "\\n" : c == '\\' ? "\\\\" : std::string(1, c);
  return line + '\n';
}

std::string from_line(std::string_view line) {
  std::string text;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\' || i + 1 == line.size()) {
      text += line[i];
    } else {
      ++i;
      text += line[i] == 'n' ? '\n' : line[i];
    }
  }
  return replace_invalid_utf8(text);
}

// Best effort: nothing that is said depends on it.
void append(const std::filesystem::path& file, const std::string& line) {
  std::error_code ignored;
  std::filesystem::create_directories(file.parent_path(), ignored);
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t written = ::write(fd, line.data(), line.size());
  ::close(fd);
}

void rewrite(const std::filesystem::path& file, const std::vector<std::string>& entries) {
  try {
    OutputFile output(file);
    for (const std::string& entry : entries) output.write(as_line(entry));
    using std::filesystem::perms;
    std::filesystem::permissions(output.temporary_path(), perms::owner_read | perms::owner_write);
    output.commit();
  } catch (const std::exception&) {
    // It stays as long as it is.
  }
}

}  // namespace

InputHistory::InputHistory(std::filesystem::path file) : file_(std::move(file)) {
  std::error_code error;
  if (file_.empty() || !std::filesystem::exists(file_, error)) return;
  if (!std::filesystem::is_regular_file(file_, error) || std::filesystem::file_size(file_, error) > kLongestFile) {
    file_.clear();
    return;
  }
  std::ifstream stream(file_, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream || text.find('\0') != std::string::npos || find_invalid_utf8(text) != std::string::npos) {
    file_.clear();
    return;
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (!line.empty() && line.size() <= kLongestEntry) entries_.push_back(from_line(line));
  if (entries_.size() <= kMostEntries) return;
  const bool is_long = entries_.size() > 2 * kMostEntries;
  entries_.erase(entries_.begin(), entries_.end() - static_cast<std::ptrdiff_t>(kMostEntries));
  if (is_long) rewrite(file_, entries_);
}

void InputHistory::add(const std::string& text) {
  if (text.empty() || (!entries_.empty() && entries_.back() == text)) return;
  entries_.push_back(text);
  if (const std::string line = as_line(text); !file_.empty() && line.size() <= kLongestEntry) append(file_, line);
}

std::optional<std::size_t> InputHistory::find_before(std::size_t end, std::string_view text) const {
  for (std::size_t i = std::min(end, entries_.size()); i-- > 0;)
    if (entries_[i].find(text) != std::string::npos) return i;
  return std::nullopt;
}

std::filesystem::path default_history_file(const std::string& name) {
  if (const char* const state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state != '\0')
    return std::filesystem::path(state) / "nibble" / name;
  if (const char* const home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return std::filesystem::path(home) / ".local" / "state" / "nibble" / name;
  return {};
}

}  // namespace nibble
