// SPDX-License-Identifier: Apache-2.0
//
// A quantization that several processes make together, each some of its pieces, in a directory that they share: they
// need to know nothing of each other. Whoever comes behind them all writes the output of them, the same bytes as one
// process would.
//
//   PartSummary done = quantize_part(source, options, parse_job_part("2/8"), machine, progress);   // eight of these
//   QuantizeSummary summary = assemble_parts(source, options, machine, progress);
#pragma once

#include <cstdint>
#include <filesystem>

#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/progress.h"
#include "pipeline/quantize/job_part.h"
#include "pipeline/quantize/quantize_model.h"

namespace nibble {

// What a part has done.
struct PartSummary {
  JobPart part{};
  std::filesystem::path directory{};    // where its pieces lie: unfinished_work(options.output)
  std::uint64_t pieces = 0, bytes = 0;  // its own
  std::uint64_t found = 0;              // of them, that were there before
};

// Makes those of the part's pieces that are not there, or are damaged. The plan must not need text: methods without
// calibration, or with given statistics. Errors of quantize_model, and invalid_argument (what has to see the whole
// model before a tensor can be made; pieces of another model, other options or another version lie there), io (another
// process makes this part).
PartSummary quantize_part(const SourceModel& source, const QuantizeModelOptions& options, const JobPart& part,
                          Machine& machine, const ProgressCallback& progress);

// Checks all pieces and writes the output; then they are removed. Errors of quantize_model, and not_found (says how
// many pieces are missing, and which parts have not ended), corrupt (a piece is another than its part has made), io (a
// part is still being made).
QuantizeSummary assemble_parts(const SourceModel& source, const QuantizeModelOptions& options, Machine& machine,
                               const ProgressCallback& progress);

}  // namespace nibble
