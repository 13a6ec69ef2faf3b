// SPDX-License-Identifier: Apache-2.0
//
// Calibration as one act: text through a model, statistics out, and whether the text was enough. And statistics from
// whatever file has them.
//
//   CalibrationResult r = calibrate_model(checkpoint, texts, {.sampling = {.samples = 128}}, machine);
//   save_statistics(r.statistics, checkpoint, "model.stats.safetensors");
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "calibrate/adequacy.h"
#include "calibrate/calibrate.h"
#include "calibrate/calibration_text.h"
#include "kernels/machine.h"
#include "model/source_model.h"

namespace nibble {

struct CalibrateOptions {
  SamplingOptions sampling{};
  CollectOptions collect{};
};

struct CalibrationResult {
  Statistics statistics;
  std::vector<SiteAdequacy> adequacy;
  std::vector<std::string> warnings;  // one line each; empty: the text was enough
};

CalibrationResult calibrate_model(const SourceModel& checkpoint, std::span<const CalibrationText> texts,
                                  const CalibrateOptions& options, Machine& machine);

// About what a file of a model's statistics holds, to be compared with the disk before text is walked.
std::uint64_t statistics_bytes(const SourceModel& checkpoint, const CollectOptions& options);

// By extension, in either case: .gguf and .dat are llama.cpp's importance matrices, anything else is a file of
// statistics (calibrate/statistics_file.h).
void save_statistics(const Statistics& statistics, const SourceModel& checkpoint, const std::filesystem::path& path);
// By content, whatever the name. Error(unusable_input) when they were made for a model of other widths (names the
// site).
Statistics load_statistics(const std::filesystem::path& path, const SourceModel& checkpoint);

}  // namespace nibble
