// SPDX-License-Identifier: Apache-2.0
//
// What both writers share: planned tensors, the places of their planes in output files, bands of rows going there, and
// the proof afterwards that the files hold what was given. One thread at a time.
//
//   TensorStream stream(plan, "out.gguf");
//   stream.place(0, 0, file, offset);  ...
//   stream.write_rows(0, band);  ...
//   stream.require_complete();
//   stream.verify(Checkpoint::open(file.temporary_path()), &pool);
#pragma once

#include <xxhash.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/output_file.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "io/checkpoint_writer.h"
#include "nibble/error.h"

namespace nibble {

class TensorStream {
 public:
  // output: named in messages. Error(invalid_argument): a name that is empty, not UTF-8 or planned twice, a tensor
  // without elements or format; Error(unsupported): rows that the format cannot hold.
  TensorStream(const std::vector<PlannedTensor>& plan, std::string output);

  std::size_t size() const noexcept { return tensors_.size(); }
  const PlannedTensor& planned(std::size_t index) const { return tensors_[index].planned; }
  const std::vector<PlaneSpec>& specs(std::size_t index) const { return tensors_[index].specs; }
  std::uint64_t bytes(std::size_t index) const;  // of all planes

  // The file must outlive the stream's last write.
  void place(std::size_t index, std::size_t plane, OutputFile& file, std::uint64_t offset);
  // In place of that, for a tensor whose bytes in the file are no planes: its rows are kept in memory and handed over
  // when all have come. reads_as: the name of the format that a reader finds, which holds the same numbers.
  using WholeUse = std::function<std::uint64_t(const QuantizedView& whole)>;  // returns the bytes that it wrote
  void gather(std::size_t index, std::string reads_as, WholeUse use);

  void write_rows(std::size_t index, const QuantizedView& band);
  std::uint64_t bytes_written() const noexcept { return bytes_written_; }

  // Error(internal) names the first tensor that lacks rows.
  void require_complete() const;
  // Error(internal) unless `written` holds exactly the planned tensors with the bytes that were given. Pages are let go
  // of on the way. pool: whose threads to use, or null. others: tensors that were written by someone else.
  void verify(const Checkpoint& written, ThreadPool* pool, std::size_t others = 0) const;

 private:
  struct FreeState {
    void operator()(XXH3_state_t* state) const noexcept { XXH3_freeState(state); }
  };
  struct Plane {
    OutputFile* file = nullptr;
    std::uint64_t offset = 0;
    std::unique_ptr<XXH3_state_t, FreeState> hash;  // while rows are coming
    std::uint64_t checksum = 0;                     // when all have come
  };
  struct Planned {
    PlannedTensor planned;
    MatrixSize size;
    std::vector<PlaneSpec> specs;
    std::vector<Plane> planes;
    std::uint64_t rows_written = 0;
    std::string reads_as;                // of gathered ones
    WholeUse use{};                      // of gathered ones, else none
    QuantizedTensor room{};              // of gathered ones, while rows are coming
    std::uint64_t numbers_checksum = 0;  // of those that are read in another format
  };

  void require_band_fits(const Planned& tensor, const QuantizedView& band) const;
  void keep(Planned& tensor, const QuantizedView& band);
  void hand_over(Planned& tensor);
  void verify_tensor(const Checkpoint& written, const Planned& tensor) const;
  void verify_planes(const Checkpoint& written, const StoredTensor& stored, const Planned& tensor) const;
  [[noreturn]] void refuse_read(const Planned& tensor, std::string_view why) const;

  std::string output_;
  std::vector<Planned> tensors_;
  std::uint64_t bytes_written_ = 0;
};

// Runs `work`; an Error that names the temporary path leaves with the final one.
template <class Work>
decltype(auto) naming_final_path(const std::filesystem::path& temporary, const std::filesystem::path& final_path,
                                 Work&& work) {
  try {
    return work();
  } catch (const Error& e) {
    std::string message = e.what();
    const std::string from = temporary.string(), to = final_path.string();
    for (std::size_t at = message.find(from); at != std::string::npos; at = message.find(from, at + to.size()))
      message.replace(at, from.size(), to);
    throw Error(e.kind(), message);
  }
}

}  // namespace nibble
