// SPDX-License-Identifier: Apache-2.0
//
// What `bench --energy` measures and tells.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/energy_meter.h"
#include "cli/session.h"
#include "evaluate/speed.h"

namespace nibble::cli {

class BenchEnergy {
 public:
  // NIBBLE_ENERGY_ROOT says where sys/ and proc/ lie, if not in "/". Where nothing can be measured, notes say why.
  explicit BenchEnergy(Session& session);

  bool is_measured() const noexcept { return recorder_.has_value(); }
  // The machine's power while nothing is asked of it, for a second; then options that measure what tests take.
  void prepare(SpeedOptions& options);

  // Columns of the table: joules per token, all of them and those above what the machine takes idle.
  std::vector<std::string> cells(const Speed& speed) const;
  std::string footnote() const;  // "RAPL (powercap): package-0; 12.3 W idle"
  void add_to(Json& whole) const;
  void add_to(Json& result, const Speed& speed) const;

 private:
  EnergyMeter meter_;
  std::optional<EnergyRecorder> recorder_;
  double idle_watts_ = 0;
};

}  // namespace nibble::cli
