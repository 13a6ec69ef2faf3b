// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/work_directory.h"

#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "base/mapped_file.h"
#include "base/output_file.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr const char* kKeyFile = "key";
constexpr const char* kLockFile = "lock";
constexpr const char* kKeyLockFile = "lock-key";
constexpr const char* kPartial = ".partial-";

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

std::vector<std::filesystem::path> entries_of(const std::filesystem::path& directory) {
  std::error_code error;
  std::vector<std::filesystem::path> entries;
  for (std::filesystem::directory_iterator at(directory, error); !error && at != std::filesystem::directory_iterator();
       at.increment(error))
    entries.push_back(at->path());
  if (error) throw Error(ErrorKind::io, "cannot read a directory: " + directory.string() + ": " + error.message());
  return entries;
}

// Of parts: each has one, that stays where it was killed.
bool is_lock_of_part(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with(std::string(kLockFile) + "-") && name != kKeyLockFile;
}

// What is there before any piece: of a run that was killed before it had its key, or was about to tidy up.
bool is_around_pieces(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name == kKeyFile || name == kLockFile || name == kKeyLockFile || is_lock_of_part(path) ||
         name.starts_with(std::string(kKeyFile) + ".partial-");
}

bool holds_nothing(const std::filesystem::path& path) {
  return std::ranges::all_of(entries_of(path), is_around_pieces);
}

// Ended, or under way when they were killed.
bool holds_parts(const std::filesystem::path& path) {
  return std::ranges::any_of(entries_of(path),
                             [](const auto& entry) { return is_part_manifest(entry) || is_lock_of_part(entry); });
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
    throw Error(ErrorKind::not_found,
                "there is nothing to assemble; make the parts first: " + path_.string() + " is not there");
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
    if (use == Use::part) agree_on_key(key);
    require_key(key);
  }
}

// Of parts that begin at one time one writes the key, and the others read it.
void WorkDirectory::agree_on_key(const std::string& key) const {
  constexpr int kTries = 500;
  constexpr std::chrono::milliseconds kPause{20};
  std::optional<FileLock> lock;
  for (int i = 0; i < kTries && !lock; ++i) {
    if (i > 0) std::this_thread::sleep_for(kPause);
    lock = FileLock::take(path_ / kKeyLockFile, FileLock::Kind::exclusive);
  }
  if (!lock)
    throw Error(ErrorKind::io, "another process does not let go of the key of this work; see what became of it: " +
                                   (path_ / kKeyLockFile).string());
  std::error_code error;
  if (!std::filesystem::exists(path_ / kKeyFile, error)) write_key(key);
}

void WorkDirectory::open_alone(const std::string& key) {
  if (read_key(path_ / kKeyFile) == key) {
    std::vector<std::filesystem::path> damaged;
    for (const auto& entry : entries_of(path_))
      if (!is_around_pieces(entry) && !is_part_manifest(entry) && !is_sound(entry)) damaged.push_back(entry);
    for (const auto& piece : damaged) std::filesystem::remove(piece);
    return;
  }
  if (holds_parts(path_) && holds_pieces()) require_key(key);
  clear();
  write_key(key);
}

void WorkDirectory::require_key(const std::string& key) const {
  if (read_key(path_ / kKeyFile) == key) return;
  const bool are_parts = holds_parts(path_);
  throw Error(ErrorKind::invalid_argument,
              std::string(are_parts ? "parts of another quantization lie" : "an interrupted quantization lies") +
                  " here: of another model, with other settings or statistics, or by another version; " +
                  (are_parts ? "assemble or remove them" : "go on with it or remove it") +
                  " first, or choose another output: " + path_.string());
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
  if (is_removed_ || holds_pieces()) return;
  if (use_ == Use::part && !lock_->become_exclusive()) return;  // others may be about to leave one
  if (!holds_pieces()) remove();
}

bool WorkDirectory::has(const std::string& piece) const {
  std::error_code ignored;
  return std::filesystem::exists(path_ / piece, ignored);
}

std::vector<std::string> WorkDirectory::names() const {
  std::vector<std::string> names;
  for (const auto& entry : entries_of(path_))
    if (const std::string name = entry.filename().string();
        !is_around_pieces(entry) && !is_part_manifest(entry) && name.find(kPartial) == std::string::npos)
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

void WorkDirectory::remove_leftovers(std::span<const std::string> names) {
  const std::set<std::string> own(names.begin(), names.end());
  for (const auto& entry : entries_of(path_)) {
    const std::string name = entry.filename().string();
    const std::size_t end = name.find(kPartial);
    std::error_code ignored;
    if (end != std::string::npos && own.contains(name.substr(0, end))) std::filesystem::remove(entry, ignored);
  }
}

// The key goes last, so that at any moment the directory is one that a run knows for its own; the lock stays.
void WorkDirectory::clear() noexcept {
  std::error_code ignored;
  std::vector<std::filesystem::path> others;
  for (auto entry = std::filesystem::directory_iterator(path_, ignored); entry != std::filesystem::directory_iterator();
       entry.increment(ignored))
    if (entry->path().filename() != kKeyFile && entry->path().filename() != kLockFile) others.push_back(entry->path());
  for (const auto& other : others) std::filesystem::remove(other, ignored);
  std::filesystem::remove(path_ / kKeyFile, ignored);
}

// Whoever comes between the lock and the directory makes a lock anew and keeps the directory.
void WorkDirectory::remove() noexcept {
  clear();
  is_removed_ = true;
  std::error_code ignored;
  std::filesystem::remove(path_ / kLockFile, ignored);
  std::filesystem::remove(path_, ignored);
}

}  // namespace nibble
