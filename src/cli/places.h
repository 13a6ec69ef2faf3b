// SPDX-License-Identifier: Apache-2.0
//
// Where a command reads and where it writes, so that no output takes the place of an input or of another output: the
// same path, another name of the same file (symbolic or hard link), a part of a split file, a file that belongs to a
// model's directory. From one thread.
//
//   Places places;
//   places.reads("--text", text); places.reads("model", model); places.writes_file("--html", page);
//   places.judge();
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::cli {

class Places {
 public:
  // Empty paths and "-" (standard input) are nothing to look after.
  void reads(const std::string& option, const std::string& path);
  void reads(const std::string& option, const std::vector<std::string>& paths);
  void writes_file(const std::string& option, const std::filesystem::path& path);
  void writes_directory(const std::string& option, const std::filesystem::path& path);

  // Error(invalid_argument) names both options and the path; Error(io) the directory that an output would lie in and
  // that is missing. Nothing is touched.
  void judge() const;

 private:
  struct Place {
    std::string option;
    std::filesystem::path given, whole;  // as it was spelled; absolute, links followed
    bool is_directory = false;
  };
  static Place place_of(const std::string& option, const std::filesystem::path& path, bool is_directory);
  static void judge_pair(const Place& output, const Place& input);
  static void judge_outputs(const Place& a, const Place& b);

  std::vector<Place> inputs_, outputs_;
};

}  // namespace nibble::cli
