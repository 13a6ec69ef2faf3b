// SPDX-License-Identifier: Apache-2.0
//
// What was written before: in memory, and in a file that is read once and added to, one line an entry (a line end
// within it as \n, a backslash as \\). One thread; several programs may add to one file.
//
//   InputHistory history(default_history_file("chat_history"));
//   history.add("hello");
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

class InputHistory {
 public:
  // No path: in memory only. A file that is not there is begun with the first entry, readable by its owner alone; what
  // is no plain file of text is left alone. One that has grown long is cut to its last entries.
  explicit InputHistory(std::filesystem::path file = {});

  const std::vector<std::string>& entries() const noexcept { return entries_; }  // oldest first
  // Not what is empty or the same as the last one.
  void add(const std::string& text);
  // The latest entry before `end` that contains the text.
  std::optional<std::size_t> find_before(std::size_t end, std::string_view text) const;

 private:
  std::filesystem::path file_;
  std::vector<std::string> entries_;
};

// NAME in nibble's folder of $XDG_STATE_HOME or ~/.local/state; empty where neither is known.
std::filesystem::path default_history_file(const std::string& name);

}  // namespace nibble
