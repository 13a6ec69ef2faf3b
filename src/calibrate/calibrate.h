// SPDX-License-Identifier: Apache-2.0
//
// Walks text through a model, one layer's weights in memory at a time, and collects what every site of it sees. The
// same statistics for any number of threads.
//
//   Statistics s = collect_statistics(checkpoint, tokens, {.second_moments = true}, machine);
#pragma once

#include <filesystem>
#include <functional>

#include "calibrate/calibration_text.h"
#include "calibrate/layer_walk.h"
#include "distribute/transport.h"
#include "format/tensor_parts.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/progress.h"
#include "quantize/statistics.h"

namespace nibble {

struct CollectOptions {
  KernelOptions kernels{};
  WalkArithmetic arithmetic = WalkArithmetic::automatic;
  bool second_moments = false;  // whole matrices, for feedback rounding; 4 * width^2 bytes a site
  bool layers = true;           // what the layers' sites see
  bool head = true;             // what the head reads
  // How the Linears of a site rotate what they read before they round it (null: not at all); the site sees that then.
  // Empty: inputs as they come.
  std::function<const ChannelTransform*(const SiteKey&)> rotation{};
  std::filesystem::path spill_directory{};  // as WalkOptions::spill_directory
  Transport* transport = nullptr;           // of several ranks, which share the windows; all get all statistics
  ProgressCallback progress{};              // stage "calibrate", in layers
};

// Errors: those of reading the model; corrupt when an activation is not finite (names the site); cancelled.
Statistics collect_statistics(const SourceModel& checkpoint, const CalibrationTokens& tokens,
                              const CollectOptions& options, Machine& machine);

}  // namespace nibble
