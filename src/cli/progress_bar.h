// SPDX-License-Identifier: Apache-2.0
//
// The progress bar on standard error, drawn on a terminal only; everywhere else it merely listens for interrupts.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "nibble/progress.h"

namespace nibble::cli {

class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();  // wipes what is drawn
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  bool report(const Progress& progress);
  void wipe();

 private:
  bool terminal_ = false, drawn_ = false;
  std::string stage_;
  std::chrono::steady_clock::time_point started_{};
};

}  // namespace nibble::cli
