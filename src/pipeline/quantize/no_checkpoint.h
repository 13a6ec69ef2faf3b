// SPDX-License-Identifier: Apache-2.0
//
// The output of a process that writes none: of a part, or of a rank beside the one that writes. Internal to pipeline/.
#pragma once

#include "io/checkpoint_writer.h"

namespace nibble {

class NoCheckpoint : public CheckpointWriter {
 public:
  void write_rows(std::size_t, const QuantizedView&) override {}
  void finish(bool, const OutputJudge&, ThreadPool*) override {}
  std::uint64_t bytes_written() const noexcept override { return 0; }
  std::uint64_t planned_bytes() const noexcept override { return 0; }
};

}  // namespace nibble
