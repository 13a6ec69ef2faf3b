// SPDX-License-Identifier: Apache-2.0
//
// What writers of directories share, whatever their weight files are: bands of rows that go to a stream, small files
// beside them, a temporary directory that is proved and renamed, and messages that name the final path. Internal to
// io/. One thread at a time.
//
//   class Writer final : public StreamedDirectory { ... };   // begins by open([&] { ... }), says how files end
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "base/output_file.h"
#include "io/checkpoint_writer.h"
#include "io/tensor_stream.h"

namespace nibble {

class StreamedDirectory : public CheckpointWriter {
 public:
  void write_rows(std::size_t index, const QuantizedView& band) override;
  void finish(bool sync, const OutputJudge& judge, ThreadPool* pool) override;
  std::uint64_t bytes_written() const noexcept override { return small_bytes_ + stream_.bytes_written(); }

 protected:
  StreamedDirectory(const std::filesystem::path& path, const std::vector<PlannedTensor>& plan)
      : path_(path), stream_(plan, path.string()) {}

  // Makes the temporary directory and fills it with what is known before the first row.
  template <class Work>
  void open(Work&& work) {
    directory_.emplace(path_);
    with_final_names(work);
  }
  virtual void commit_files() = 0;  // of weights
  virtual void verify(ThreadPool* pool) const = 0;
  virtual void close_files() = 0;  // before their directory goes

  const std::filesystem::path& temporary_path() const { return directory_->temporary_path(); }
  std::filesystem::path within(std::string_view name) const { return temporary_path() / name; }
  void write_small_file(std::string_view name, std::string_view text);

  std::filesystem::path path_;
  TensorStream stream_;
  std::uint64_t small_bytes_ = 0;  // of what is no row

 private:
  template <class Work>
  void with_final_names(Work&& work) {
    naming_final_path(directory_->temporary_path(), path_, work);
  }
  void require_open() const;
  void close();

  std::optional<OutputDirectory> directory_;
};

}  // namespace nibble
