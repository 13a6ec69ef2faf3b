// SPDX-License-Identifier: Apache-2.0
#include "cli/progress_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/elapsed.h"
#include "base/time_left.h"
#include "cli/interrupt.h"
#include "report/number_text.h"
#include "terminal/raw_terminal.h"

namespace nibble::cli {
namespace {

constexpr std::chrono::seconds kQuiet{20};  // between two lines about one stage

std::size_t terminal_width() {
  const std::size_t columns = terminal_size(STDERR_FILENO).columns;
  return columns > 20 ? columns : TerminalSize().columns;
}

}  // namespace

ProgressBar::ProgressBar() : terminal_(isatty(STDERR_FILENO) == 1) {}
ProgressBar::~ProgressBar() { wipe(); }

void ProgressBar::wipe() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

// A stage whose count has fallen starts anew.
void ProgressBar::begin_stage(const Progress& progress) {
  if (progress.stage == stage_ && progress.done >= done_) {
    done_ = progress.done;
    return;
  }
  stage_ = progress.stage;
  begun_ = done_ = progress.done;
  started_ = announced_ = std::chrono::steady_clock::now();
  if (!announces_ || terminal_) return;
  const auto place = std::ranges::find(plan_, stage_);
  if (stage_ == told_stage_ || (place == plan_.end() && !plan_.empty())) return;
  told_stage_ = stage_;
  const std::string number =
      place == plan_.end() ? "" : fmt::format("stage {} of {}: ", place - plan_.begin() + 1, plan_.size());
  std::fprintf(stderr, "nibble: %s%s\n", number.c_str(), stage_.c_str());
}

void ProgressBar::announce(const Progress& progress) {
  const auto now = std::chrono::steady_clock::now();
  if (progress.total == 0 || progress.done >= progress.total || now - announced_ < kQuiet) return;
  announced_ = now;
  const double share = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  std::string line = fmt::format("nibble: {}: {:.0f} %", progress.stage, 100 * share);
  if (const auto left = seconds_left(seconds_since(started_), begun_, progress.done, progress.total))
    line += fmt::format(", about {} left", duration_text(*left));
  if (tells_items_ && !progress.item.empty()) line += fmt::format("; {}", progress.item);
  std::fprintf(stderr, "%s\n", line.c_str());
}

bool ProgressBar::report(const Progress& progress) {
  begin_stage(progress);
  if (terminal_)
    draw(progress);
  else
    announce(progress);
  return !interrupted();
}

void ProgressBar::draw(const Progress& progress) {
  const double share =
      progress.total == 0 ? 0 : std::min(1.0, static_cast<double>(progress.done) / static_cast<double>(progress.total));
  const double elapsed = seconds_since(started_);
  std::string line = fmt::format("{:<9} [", progress.stage);
  constexpr int kCells = 24;
  for (int i = 0; i < kCells; ++i) line += i < share * kCells ? '#' : '.';
  line += fmt::format("] {:3.0f} %", 100 * share);
  const auto left = seconds_left(elapsed, begun_, progress.done, progress.total);
  if (left && *left > 0 && elapsed > 1) line += "  " + duration_text(*left) + " left";
  if (!progress.item.empty()) line += "  " + std::string(progress.item);
  line.resize(std::min(line.size(), terminal_width() - 1));
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  drawn_ = true;
  if (progress.done >= progress.total) wipe();
}

}  // namespace nibble::cli
