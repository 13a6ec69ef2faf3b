// SPDX-License-Identifier: Apache-2.0
//
// Finished pieces of a long quantization, kept beside the output until it is complete, so that the same command goes on
// where an interrupted one stopped, at any moment, and ends with the same bytes; or so that several processes make some
// of them each (pipeline/quantize/job_part.h). Pieces appear whole or not at all, and carry a hash of what is in them.
// One thread at a time.
//
//   WorkDirectory work("out.gguf.work", key);          // pieces made under another key are thrown away
//   if (!work.load(name, band)) { ...; work.store(name, band); }
//   work.remove();                                      // when the output is there
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "format/quantized_tensor.h"

namespace nibble {

class WorkDirectory {
 public:
  enum class Use {
    alone,     // a run that makes all pieces; of another key's none remain, unless several processes made them
    part,      // beside other processes with the same key
    assembly,  // a run that makes nothing of what others have made
  };

  // key: everything that decides the bytes. Error(io) when the directory cannot be made, when something else stands
  // at `path`, or when another process is at work there that this one cannot be beside. Error(invalid_argument) where
  // parts of another key lie there; Error(not_found) where there is nothing to assemble.
  WorkDirectory(std::filesystem::path path, const std::string& key, Use use = Use::alone);
  // Removes the directory where no piece is in it: what failed before the first one leaves nothing.
  ~WorkDirectory();
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }
  bool has(const std::string& piece) const;
  std::vector<std::string> names() const;  // of all pieces, sorted
  // Fills the planes of `tensor`, which has the right sizes already; false when the piece is not there, not of these
  // sizes, or damaged.
  bool load(const std::string& piece, QuantizedTensor& tensor) const;
  void store(const std::string& piece, const QuantizedTensor& tensor);
  // What the piece says that its bytes hash to; nothing where it is not there.
  std::optional<std::uint64_t> hash_of(const std::string& piece) const;
  // Removes it where its bytes are not what it says.
  void drop_if_damaged(const std::string& piece);
  // What killed processes left of pieces, or other files here, of these names: NAME.partial-*. Nobody else makes them.
  void remove_leftovers(std::span<const std::string> names);
  void remove() noexcept;

  std::size_t num_loaded() const noexcept { return loaded_; }

 private:
  void open_alone(const std::string& key);
  void agree_on_key(const std::string& key) const;
  void require_key(const std::string& key) const;
  void write_key(const std::string& key) const;
  void clear() noexcept;
  bool holds_pieces() const noexcept;

  std::filesystem::path path_;
  std::optional<FileLock> lock_;
  Use use_;
  bool is_removed_ = false;
  mutable std::size_t loaded_ = 0;
};

// Of the pieces that one process has made, how it says so: "part-2-of-8.json".
bool is_part_manifest(const std::filesystem::path& path);

}  // namespace nibble
