// SPDX-License-Identifier: Apache-2.0
//
// The progress bar on standard error, drawn on a terminal only. Everywhere else it listens for interrupts and says in a
// line, now and then, how far a long stage is and how long it will take; where a verb asks for it, also which stage
// begins, of how many.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

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
  // Where there is no terminal, a line for each stage that begins, once where it begins again at once. plan: the stages
  // that the whole work is known to have, in order; others are parts of these, and untold.
  void announce_stages(std::vector<std::string> plan) {
    announces_ = true;
    plan_ = std::move(plan);
  }
  // Where there is no terminal, what is at work now behind the share that is done: worth it where it is a figure.
  void tell_items() { tells_items_ = true; }

 private:
  void begin_stage(const Progress& progress);
  void announce(const Progress& progress);
  void draw(const Progress& progress);

  bool terminal_ = false, drawn_ = false, announces_ = false, tells_items_ = false;
  std::string stage_, told_stage_;
  std::vector<std::string> plan_;
  std::uint64_t begun_ = 0, done_ = 0;  // of this stage: when it was first heard of, and now
  std::chrono::steady_clock::time_point started_{}, announced_{};
};

}  // namespace nibble::cli
