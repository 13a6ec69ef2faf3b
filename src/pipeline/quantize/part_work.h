// SPDX-License-Identifier: Apache-2.0
//
// A quantization by several processes that know nothing of each other but a directory: each makes its pieces there and
// says at last which they are and what they hash to; whoever comes behind them all writes the output of them, the same
// bytes as one process would. Internal to pipeline/.
//
//   summary = write_part(part, source, plan, options, source_hash, machine, progress);
//   require_pieces(work, output);
#pragma once

#include <string>

#include "kernels/machine.h"
#include "nibble/progress.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/shared_work.h"
#include "pipeline/quantize/tensor_output.h"
#include "pipeline/quantize/work_directory.h"

namespace nibble {

// Error(invalid_argument) of what has to see the whole model, or text, before a tensor can be made.
void require_shareable(const QuantizePlan& plan, const QuantizeModelOptions& options);

// As quantize_part, of what is planned already. source_hash: as resume_key's.
PartSummary write_part(const JobPart& part, const SourceModel& source, const QuantizePlan& plan,
                       const QuantizeModelOptions& options, const std::string& source_hash, Machine& machine,
                       const ProgressCallback& progress);

// Before an output of pieces is begun. Error(not_found) says how many are missing and which parts have not ended,
// Error(corrupt) names a piece that is another than its part has made.
void require_pieces(const WorkDirectory& work, const TensorOutput& output);

}  // namespace nibble
