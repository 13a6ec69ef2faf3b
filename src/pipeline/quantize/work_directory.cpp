// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/work_directory.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr const char* kKeyFile = "key";
constexpr const char* kLockFile = "lock";

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

// What is there before any piece: of a run that was killed before it had its key, or was about to tidy up.
bool is_around_pieces(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name == kKeyFile || name.starts_with(kLockFile) || name.starts_with(std::string(kKeyFile) + ".partial-");
}

bool holds_nothing(const std::filesystem::path& path) {
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (!is_around_pieces(entry.path())) return false;
  return true;
}

bool holds_parts(const std::filesystem::path& path) {
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (is_part_manifest(entry.path())) return true;
  return false;
}

}  // namespace

bool is_part_manifest(const std::filesystem::path& path) {
  return path.extension() == ".json" && path.filename().string().starts_with("part-");
}

WorkDirectory::WorkDirectory(std::filesystem::path path, const std::string& key, Use use)
    : path_(std::move(path)), use_(use) {
  std::error_code error;
  if (std::filesystem::exists(path_, error)) {
    if (!std::filesystem::is_directory(path_, error) ||
        (!std::filesystem::exists(path_ / kKeyFile, error) && !holds_nothing(path_)))
      throw Error(
          ErrorKind::io,
          "this is where unfinished work would be kept, but something else is there; move it away: " + path_.string());
  } else if (use == Use::assembly) {
    throw Error(ErrorKind::not_found, "there is nothing to assemble; make the parts first (--part 1/8, ...): " +
                                          path_.string() + " is not there");
  }
  std::filesystem::create_directories(path_, error);
  if (error)
    throw Error(ErrorKind::io,
                "cannot make a directory for unfinished work: " + path_.string() + ": " + error.message());
  lock_ = FileLock::take(path_ / kLockFile, use == Use::part ? FileLock::Kind::shared : FileLock::Kind::exclusive);
  if (!lock_)
    throw Error(ErrorKind::io, "another process is at work on this output; wait until it is done, or choose another: " +
                                   path_.string());
  if (use == Use::alone) {
    open_alone(key);
  } else {
    if (use == Use::part && !std::filesystem::exists(path_ / kKeyFile, error)) write_key(key);
    require_key(key);
  }
}

void WorkDirectory::open_alone(const std::string& key) {
  if (read_key(path_ / kKeyFile) == key) {
    std::vector<std::filesystem::path> damaged;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      if (!is_around_pieces(entry.path()) && !is_part_manifest(entry.path()) && !is_sound(entry.path()))
        damaged.push_back(entry.path());
    for (const auto& piece : damaged) std::filesystem::remove(piece);
    return;
  }
  if (holds_parts(path_)) require_key(key);
  clear();
  write_key(key);
}

void WorkDirectory::require_key(const std::string& key) const {
  if (read_key(path_ / kKeyFile) == key) return;
  throw Error(ErrorKind::invalid_argument,
              "parts of another quantization lie here: made of another model, with other settings or statistics, or by "
              "another version; assemble or remove them first, or choose another output: " +
                  path_.string());
}

void WorkDirectory::write_key(const std::string& key) const {
  OutputFile file(path_ / kKeyFile);
  file.write(std::string_view(key));
  file.commit();
}

bool WorkDirectory::holds_pieces() const noexcept {
  std::error_code error;
  std::filesystem::directory_iterator entries(path_, error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error))
    if (!is_around_pieces(entries->path())) return true;
  return bool(error);
}

WorkDirectory::~WorkDirectory() {
  if (holds_pieces()) return;
  if (use_ == Use::part && !lock_->become_exclusive()) return;  // others may be about to leave one
  if (!holds_pieces()) remove();
}

bool WorkDirectory::has(const std::string& piece) const {
  std::error_code ignored;
  return std::filesystem::exists(path_ / piece, ignored);
}

std::vector<std::string> WorkDirectory::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    if (const std::string name = entry.path().filename().string(); !is_around_pieces(entry.path()) &&
                                                                   !is_part_manifest(entry.path()) &&
                                                                   name.find(".partial-") == std::string::npos)
      names.push_back(name);
  std::ranges::sort(names);
  return names;
}

bool WorkDirectory::load(const std::string& piece, QuantizedTensor& tensor) const {
  if (!has(piece)) return false;
  const MappedFile file(path_ / piece);
  std::uint64_t total = sizeof(std::uint64_t), expected = 0;
  for (const auto& plane : tensor.planes) total += plane.size();
  if (file.bytes().size() != total) return false;
  std::memcpy(&expected, file.bytes().data(), sizeof expected);
  if (XXH3_64bits(file.bytes().data() + sizeof expected, total - sizeof expected) != expected) return false;
  const std::byte* at = file.bytes().data() + sizeof expected;
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

std::optional<std::uint64_t> WorkDirectory::hash_of(const std::string& piece) const {
  std::ifstream file(path_ / piece, std::ios::binary);
  std::uint64_t hash = 0;
  if (!file.read(reinterpret_cast<char*>(&hash), sizeof hash)) return std::nullopt;
  return hash;
}

void WorkDirectory::drop_if_damaged(const std::string& piece) {
  if (has(piece) && !is_sound(path_ / piece)) std::filesystem::remove(path_ / piece);
}

// The key goes last, so that at any moment the directory is one that a run knows for its own.
void WorkDirectory::clear() noexcept {
  std::error_code ignored;
  std::vector<std::filesystem::path> pieces;
  for (auto entry = std::filesystem::directory_iterator(path_, ignored); entry != std::filesystem::directory_iterator();
       entry.increment(ignored))
    if (!is_around_pieces(entry->path())) pieces.push_back(entry->path());
  for (const auto& piece : pieces) std::filesystem::remove(piece, ignored);
  std::filesystem::remove(path_ / kKeyFile, ignored);
}

void WorkDirectory::remove() noexcept {
  clear();
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace nibble
