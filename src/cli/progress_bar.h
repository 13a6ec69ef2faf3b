// SPDX-License-Identifier: Apache-2.0
//
// The progress bar on standard error, drawn on a terminal only. Everywhere else it listens for interrupts and, where a verb asks for it, says
// in a line which stage begins, and now and then how far a long one is.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
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
  // Lines where there is no terminal.
  void announce_stages() noexcept { announces_ = true; }

 private:
  void begin_stage(const Progress& progress);
  void announce(const Progress& progress);
  void draw(const Progress& progress);

  bool terminal_ = false, drawn_ = false, announces_ = false;
  std::string stage_;
  std::uint64_t done_ = 0;
  std::chrono::steady_clock::time_point started_{}, announced_{};
};

}  // namespace nibble::cli
