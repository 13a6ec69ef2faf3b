// SPDX-License-Identifier: Apache-2.0
#include "cli/places.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/output_file.h"
#include "base/shard_name.h"
#include "nibble/error.h"

namespace nibble::cli {
namespace {

namespace fs = std::filesystem;

// What no model's directory is read for: everything else in one is taken for a part of the model.
constexpr std::array<std::string_view, 5> kOutputEndings = {".gguf", ".dat", ".imatrix", ".html", ".jsonl"};

[[noreturn]] void refuse(const std::string& why, const fs::path& path) {
  throw Error(ErrorKind::invalid_argument, fmt::format("{}; choose another name: {}", why, path.string()));
}

fs::path whole_path(const fs::path& path) {
  std::error_code error;
  fs::path whole = fs::weakly_canonical(fs::absolute(path, error), error);
  if (error) whole = fs::absolute(path).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

bool is_same_file(const fs::path& a, const fs::path& b) {
  std::error_code error;
  return a == b || (fs::equivalent(a, b, error) && !error);
}

bool lies_within(const fs::path& path, const fs::path& directory) {
  const auto [end, ignored] = std::mismatch(directory.begin(), directory.end(), path.begin(), path.end());
  return end == directory.end();
}

bool is_part_of_same_split(const fs::path& a, const fs::path& b) {
  const auto one = parse_shard_name(a.filename().string()), other = parse_shard_name(b.filename().string());
  return one && other && a.parent_path() == b.parent_path() && one->prefix == other->prefix &&
         one->count == other->count && one->ending == other->ending;
}

// Another name, a link, of a file that lies in the directory: files of a cache of models are often links.
bool is_link_of_file_in(const fs::path& directory, const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return false;
  for (auto entry = fs::recursive_directory_iterator(directory, fs::directory_options::skip_permission_denied, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    const bool is_itself = fs::absolute(entry->path()).lexically_normal() == file;
    if (!is_itself && entry->is_regular_file(ignored) && is_same_file(entry->path(), file)) return true;
  }
  return false;
}

}  // namespace

Places::Place Places::place_of(const std::string& option, const fs::path& path, bool is_directory) {
  return {option, path, whole_path(path), is_directory};
}

void Places::reads(const std::string& option, const std::string& path) {
  std::error_code ignored;
  if (!path.empty() && path != "-") inputs_.push_back(place_of(option, path, fs::is_directory(path, ignored)));
}

void Places::reads(const std::string& option, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) reads(option, path);
}

void Places::writes_file(const std::string& option, const fs::path& path) {
  if (!path.empty()) outputs_.push_back(place_of(option, path, false));
}

void Places::writes_directory(const std::string& option, const fs::path& path) {
  if (!path.empty()) outputs_.push_back(place_of(option, path, true));
}

void Places::judge_pair(const Place& output, const Place& input) {
  if (is_same_file(output.whole, input.whole) || is_part_of_same_split(output.whole, input.whole))
    refuse(fmt::format("{} would take the place of what is read as {}", output.option, input.option), output.given);
  if (output.is_directory && lies_within(input.whole, output.whole))
    refuse(fmt::format("{} would take the place of a directory that holds what is read as {}", output.option,
                       input.option),
           output.given);
  if (!input.is_directory) return;
  if (is_link_of_file_in(input.whole, output.whole))
    refuse(fmt::format("{} is another name of a file that is read as part of {}", output.option, input.option),
           output.given);
  if (output.is_directory || !lies_within(output.whole, input.whole)) return;
  if (std::ranges::find(kOutputEndings, lower_extension(output.whole)) != kOutputEndings.end()) return;
  refuse(fmt::format("{} would lie among the files of the directory that is read as {}", output.option, input.option),
         output.given);
}

void Places::judge_outputs(const Place& a, const Place& b) {
  if (is_same_file(a.whole, b.whole)) refuse(fmt::format("{} and {} name the same place", a.option, b.option), a.given);
  for (const auto& [outer, inner] : {std::pair(&a, &b), std::pair(&b, &a)})
    if (outer->is_directory && lies_within(inner->whole, outer->whole))
      refuse(fmt::format("{} would lie in the directory that {} writes", inner->option, outer->option), inner->given);
}

void Places::judge() const {
  for (const Place& output : outputs_) {
    std::error_code ignored;
    const fs::file_status status = fs::status(output.whole, ignored);
    if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status))
      refuse(fmt::format("{} is neither a file nor a directory and cannot be replaced", output.option), output.given);
    for (const Place& input : inputs_) judge_pair(output, input);
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i)
    for (std::size_t j = i + 1; j < outputs_.size(); ++j) judge_outputs(outputs_[i], outputs_[j]);
  for (const Place& output : outputs_) require_directory_of(output.given);
}

}  // namespace nibble::cli
