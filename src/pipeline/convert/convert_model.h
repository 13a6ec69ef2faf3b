// SPDX-License-Identifier: Apache-2.0
//
// A whole model into the other container, or another floating-point type, with the numbers that it has: codes that both
// containers know are copied, others become codes of a format that holds the same numbers bit for bit (integers and
// scales are found again from the numbers, quantize/round/exact.h), and what has no such place is refused unless losses
// are allowed, which are then counted. The output appears whole or not at all, as quantize_model's.
//
//   ConvertSummary made = convert_model(SourceModel::open("awq-model"), {.output = "model.gguf"}, machine, {});
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/convert.h"
#include "nibble/progress.h"
#include "nibble/quantize.h"
#include "pipeline/export/onnx_options.h"
#include "pipeline/quantize/verified_quantization.h"

namespace nibble {

struct ConvertOptions {
  std::filesystem::path output{};
  std::string container{};  // a name of pipeline/export/; empty: as the output's name ends
  std::string dtype{};      // f32, f16, bf16: every matrix; empty: as it is
  bool lossy = false;       // what has no exact place is rounded to the nearest number
  bool strict = false;      // what the container cannot hold beside tensors is an error
  bool dry_run = false;     // looks at every number, writes nothing
  bool sync = false;
  std::string distilled{};        // as QuantizeModelOptions::distilled
  OnnxOptions onnx{};             // of containers with an ONNX graph
  std::string runtime{};          // as QuantizeModelOptions::runtime
  std::uint64_t shard_bytes = 0;  // largest weight file of a directory; 0: the container's own
  // What rounding cost is judged on these, before the output takes its place; none: the changes are counted alone.
  std::optional<VerifyOptions> verify{};
};

std::string_view conversion_name(Conversion conversion);

// Errors: as quantize_model's and, with texts, judge_models'; unsupported (without lossy) names the first tensor that
// has no exact place, and what would give it one.
ConvertSummary convert_model(const SourceModel& source, const ConvertOptions& options, Machine& machine,
                             const ProgressCallback& progress);

}  // namespace nibble
