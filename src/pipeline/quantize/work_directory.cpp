// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/work_directory.h"

#include <xxhash.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr const char* kKeyFile = "key";

std::string read_key(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A machine that lost power may have kept a name and lost its bytes.
bool is_sound(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  std::uint64_t expected = 0;
  if (bytes.size() < sizeof expected) return false;
  std::memcpy(&expected, bytes.data(), sizeof expected);
  return XXH3_64bits(bytes.data() + sizeof expected, bytes.size() - sizeof expected) == expected;
}

// True of a directory in which a run that was killed had not got as far as its key, or was about to tidy up.
bool holds_nothing(const std::filesystem::path& path) {
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (!entry.path().filename().string().starts_with(std::string(kKeyFile) + ".partial-")) return false;
  return true;
}

}  // namespace

WorkDirectory::WorkDirectory(std::filesystem::path path, const std::string& key) : path_(std::move(path)) {
  std::error_code error;
  if (std::filesystem::exists(path_, error)) {
    if (!std::filesystem::is_directory(path_, error) ||
        (!std::filesystem::exists(path_ / kKeyFile, error) && !holds_nothing(path_)))
      throw Error(
          ErrorKind::io,
          "this is where unfinished work would be kept, but something else is there; move it away: " + path_.string());
    if (read_key(path_ / kKeyFile) == key) {
      drop_damaged();
      return;
    }
    remove();
  }
  if (!std::filesystem::create_directories(path_, error) || error)
    throw Error(ErrorKind::io,
                "cannot make a directory for unfinished work: " + path_.string() + ": " + error.message());
  OutputFile file(path_ / kKeyFile);
  file.write(std::string_view(key));
  file.commit();
}

WorkDirectory::~WorkDirectory() {
  std::error_code error;
  std::filesystem::directory_iterator entries(path_, error);
  if (error) return;
  for (; entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    if (error) return;
    const std::string name = entries->path().filename().string();
    if (name != kKeyFile && !name.starts_with(std::string(kKeyFile) + ".partial-")) return;
  }
  remove();
}

void WorkDirectory::drop_damaged() const {
  std::vector<std::filesystem::path> damaged;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    if (entry.path().filename() != kKeyFile && !is_sound(entry.path())) damaged.push_back(entry.path());
  for (const auto& piece : damaged) std::filesystem::remove(piece);
}

bool WorkDirectory::has(const std::string& piece) const {
  std::error_code ignored;
  return std::filesystem::exists(path_ / piece, ignored);
}

bool WorkDirectory::load(const std::string& piece, QuantizedTensor& tensor) const {
  if (!has(piece)) return false;
  const MappedFile file(path_ / piece);
  std::uint64_t total = sizeof(std::uint64_t);
  for (const auto& plane : tensor.planes) total += plane.size();
  if (file.bytes().size() != total) return false;
  const std::byte* at = file.bytes().data() + sizeof(std::uint64_t);
  for (auto& plane : tensor.planes) {
    std::memcpy(plane.data(), at, plane.size());
    at += plane.size();
  }
  ++loaded_;
  return true;
}

void WorkDirectory::store(const std::string& piece, const QuantizedTensor& tensor) {
  std::vector<std::byte> content;
  for (const auto& plane : tensor.planes) content.insert(content.end(), plane.begin(), plane.end());
  const std::uint64_t hash = XXH3_64bits(content.data(), content.size());
  OutputFile file(path_ / piece);
  file.write(std::as_bytes(std::span(&hash, 1)));
  file.write(content);
  file.commit();
}

void WorkDirectory::remove() noexcept {
  // The key goes last, so that at any moment the directory is one that a run knows for its own.
  std::error_code ignored;
  std::vector<std::filesystem::path> pieces;
  for (auto entry = std::filesystem::directory_iterator(path_, ignored); entry != std::filesystem::directory_iterator();
       entry.increment(ignored))
    if (entry->path().filename() != kKeyFile) pieces.push_back(entry->path());
  for (const auto& piece : pieces) std::filesystem::remove(piece, ignored);
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace nibble
