// SPDX-License-Identifier: Apache-2.0
//
// Finished pieces of a long quantization, kept beside the output until it is complete, so that the same command goes on
// where an interrupted one stopped, at any moment, and ends with the same bytes. Pieces appear whole or not at all. One
// thread at a time.
//
//   WorkDirectory work("out.gguf.work", key);          // pieces made under another key are thrown away
//   if (!work.load(name, band)) { ...; work.store(name, band); }
//   work.remove();                                      // when the output is there
#pragma once

#include <filesystem>
#include <string>

#include "format/quantized_tensor.h"

namespace nibble {

class WorkDirectory {
 public:
  // key: everything that decides the bytes. Error(io) when the directory cannot be made, or when something else stands
  // at `path`.
  WorkDirectory(std::filesystem::path path, const std::string& key);
  // Removes the directory where no piece is in it: what failed before the first one leaves nothing.
  ~WorkDirectory();
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;

  bool has(const std::string& piece) const;
  // Fills the planes of `tensor`, which has the right sizes already; false when the piece is not there or not of these
  // sizes.
  bool load(const std::string& piece, QuantizedTensor& tensor) const;
  void store(const std::string& piece, const QuantizedTensor& tensor);
  void remove() noexcept;

  std::size_t num_loaded() const noexcept { return loaded_; }

 private:
  void drop_damaged() const;

  std::filesystem::path path_;
  mutable std::size_t loaded_ = 0;
};

}  // namespace nibble
