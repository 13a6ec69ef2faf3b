// SPDX-License-Identifier: Apache-2.0
//
// Writers that take tensors one at a time, so that memory is bounded by one tensor (or one band of rows), and that
// prove what they wrote: finish() maps the temporary file again, judges it with the reader, compares a checksum of
// every tensor with what was given, and only then renames.
//
//   GgufWriter writer("out.gguf", metadata, plan);
//   for (auto& tensor : plan) { ...; writer.write_rows(i, rows); }
//   writer.finish();
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "format/quantized_tensor.h"
#include "io/gguf/gguf_value.h"

namespace nibble {

// What will be written, known before the first byte: sizes decide offsets.
struct PlannedTensor {
  std::string
      name;  // final name in the container (for planar formats: the weight's name; planes get their suffixes from it)
  Shape shape;       // outermost first: [rows, cols] or [n]
  FormatPtr format;  // raw, block or planar
  std::shared_ptr<const TensorParts>
      parts{};  // of block and planar formats, where the container holds them; null: none
};

// Looks at a finished output under its temporary name; what it throws keeps the output from its place.
using OutputJudge = std::function<void(const std::filesystem::path& unreleased)>;

class CheckpointWriter {
 public:
  virtual ~CheckpointWriter() = default;
  // Appends whole rows of tensor `index` to it, in order; tensors may be written in any order and from one thread at a
  // time. band: planes of `band.rows` rows in the planned format (tensor-wide planes are taken from the first band).
  virtual void write_rows(std::size_t index, const QuantizedView& band) = 0;
  // Verifies, on the threads of the pool if there is one, asks the judge if there is one, and renames. Error(internal)
  // if the file read back differs from what was written. Nothing is left behind after an error, of the judge or
  // otherwise.
  virtual void finish(bool sync = false, const OutputJudge& judge = {}, ThreadPool* pool = nullptr) = 0;
  virtual std::uint64_t bytes_written() const noexcept = 0;
  // Of the weight files, headers and padding included, as finish() leaves them: known from the start.
  virtual std::uint64_t planned_bytes() const noexcept = 0;
};

// One GGUF v3 file. metadata is written as given, plus nothing. Planar formats and
// tensors with parts are refused (Error(unsupported)).
std::unique_ptr<CheckpointWriter> make_gguf_writer(const std::filesystem::path& path, const GgufMetadata& metadata,
                                                   const std::vector<PlannedTensor>& plan);

// A small tensor that is no weight, given whole.
struct SideTensor {
  std::string name;
  Tensor tensor;
};

struct SideFile {
  std::string name, text;
};  // config.json and other small files of a directory

// A Hugging Face directory: model.safetensors, or shards of at most shard_bytes with model.safetensors.index.json, plus
// side files. Side tensors lie in the first shard.
std::unique_ptr<CheckpointWriter> make_directory_writer(const std::filesystem::path& path,
                                                        const std::vector<SideFile>& side_files,
                                                        const std::vector<PlannedTensor>& plan,
                                                        std::uint64_t shard_bytes = 5'000'000'000,
                                                        const std::vector<SideTensor>& side_tensors = {});

}  // namespace nibble
