// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_energy.h"

#include <fmt/format.h>

#include <cstdlib>

namespace nibble::cli {
namespace {

// Counters step about a thousand times a second, batteries once in several.
constexpr double kLeastSeconds = 2, kLeastBatterySeconds = 30;
constexpr std::chrono::milliseconds kIdle{1000};

std::string root() {
  const char* const given = std::getenv("NIBBLE_ENERGY_ROOT");
  return given != nullptr && *given != '\0' ? given : "/";
}

struct TokenJoules {
  double all, above_idle;
};

std::optional<TokenJoules> joules_of_token(const Speed& speed, double idle_watts) {
  if (!speed.joules) return std::nullopt;
  const double tokens = static_cast<double>(speed.tokens * speed.samples.size());
  return TokenJoules{*speed.joules / tokens, (*speed.joules - idle_watts * speed.seconds) / tokens};
}

std::string joules_text(double joules) {
  return joules >= 1 ? fmt::format("{:.3g} J", joules) : fmt::format("{:.3g} mJ", joules * 1e3);
}

}  // namespace

BenchEnergy::BenchEnergy(Session& session) : meter_(root()) {
  if (!meter_.source().empty()) {
    recorder_.emplace(meter_);
    return;
  }
  session.note("note: energy cannot be measured on this machine, and is not guessed:");
  for (const std::string& obstacle : meter_.obstacles()) session.note("  " + obstacle);
}

void BenchEnergy::prepare(SpeedOptions& options) {
  if (!recorder_) return;
  idle_watts_ = recorder_->mean_watts(kIdle);
  options.least_seconds = meter_.source() == "battery" ? kLeastBatterySeconds : kLeastSeconds;
  options.joules = [this] { return recorder_->joules(); };
}

std::vector<std::string> BenchEnergy::cells(const Speed& speed) const {
  const std::optional<TokenJoules> joules = joules_of_token(speed, idle_watts_);
  if (!joules) return {"", ""};
  return {joules_text(joules->all), joules_text(joules->above_idle)};
}

std::string BenchEnergy::footnote() const {
  if (!recorder_) return {};
  std::string text;
  for (const std::string& domain : meter_.domains()) text += (text.empty() ? "" : ", ") + domain;
  return fmt::format("energy by {}: {}; {:.2f} W idle\n", meter_.source(), text, idle_watts_);
}

void BenchEnergy::add_to(Json& whole) const {
  whole["energy_source"] = recorder_ ? Json(meter_.source()) : Json(nullptr);
  whole["energy_domains"] = meter_.domains();
  whole["energy_idle_watts"] = recorder_ ? Json(idle_watts_) : Json(nullptr);
  whole["energy_obstacles"] = meter_.obstacles();
}

void BenchEnergy::add_to(Json& result, const Speed& speed) const {
  const std::optional<TokenJoules> joules = joules_of_token(speed, idle_watts_);
  if (!joules) return;
  result["energy_joules"] = *speed.joules;
  result["energy_seconds"] = speed.seconds;
  result["joules_per_token"] = joules->all;
  result["joules_per_token_above_idle"] = joules->above_idle;
}

}  // namespace nibble::cli
