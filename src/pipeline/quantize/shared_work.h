// SPDX-License-Identifier: Apache-2.0
//
// A quantization that several processes make together, with the bytes of one. Parts make some of its pieces each, in a
// directory that they share, and need to know nothing of each other; whoever comes behind them all writes the output of
// them. Ranks work in step, and speak to each other (distribute/transport.h).
//
//   PartSummary done = quantize_part(source, options, parse_job_part("2/8"), machine, progress);   // eight of these
//   QuantizeSummary summary = assemble_parts(source, options, machine, progress);
#pragma once

#include <cstdint>
#include <filesystem>

#include "distribute/transport.h"
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

// Called by every rank, with the same of everything: they walk shares of the text, round shares of the rows, whole
// experts each, and the first of them writes the output, whose bytes are those of one process. The text may be walked
// through the quantized layers. `options.output` and what is left beside it by a run before are the first rank's.
// Errors of quantize_model, of any rank on all of them; and invalid_argument (a rank has another model, other text or
// options, or another version; what ranks do not share yet).
QuantizeSummary quantize_in_ranks(const SourceModel& source, const QuantizeModelOptions& options, Transport& ranks,
                                  Machine& machine, const ProgressCallback& progress);

// Checks all pieces and writes the output; then they are removed. Errors of quantize_model, and not_found (says how
// many pieces are missing, and which parts have not ended), corrupt (a piece is another than its part has made), io (a
// part is still being made).
QuantizeSummary assemble_parts(const SourceModel& source, const QuantizeModelOptions& options, Machine& machine,
                               const ProgressCallback& progress);

}  // namespace nibble
