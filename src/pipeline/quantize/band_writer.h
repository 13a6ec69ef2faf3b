// SPDX-License-Identifier: Apache-2.0
//
// Bands on their way to a file: while one is written on a thread of its own, the next is encoded. At most one band
// waits, so memory stays bounded. Used from one thread.
//
//   BandWriter bands(*writer, true);
//   bands.write(0, linear.encode(rows));  ...
//   bands.finish();
#pragma once

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "format/quantized_tensor.h"
#include "io/checkpoint_writer.h"

namespace nibble {

class BandWriter {
 public:
  // concurrent: whether there is a processor to spare for a thread; otherwise write() writes.
  BandWriter(CheckpointWriter& writer, bool concurrent);
  // What has not been written by then is dropped.
  ~BandWriter();
  BandWriter(const BandWriter&) = delete;
  BandWriter& operator=(const BandWriter&) = delete;

  // As CheckpointWriter::write_rows, whose errors arrive with this call or a later one.
  void write(std::size_t index, QuantizedTensor band);
  // Returns when all bands are written.
  void finish();

 private:
  void work();

  CheckpointWriter& writer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::pair<std::size_t, QuantizedTensor>> waiting_;
  bool writing_ = false, stopping_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace nibble
