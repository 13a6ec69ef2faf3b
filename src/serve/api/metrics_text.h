// SPDX-License-Identifier: Apache-2.0
//
// The states of the models of a server as Prometheus reads them (text format 0.0.4).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "serve/scheduler.h"

namespace nibble::serve {

struct ModelState {
  std::string model;  // the label of its samples; "": none, where there is one model
  SchedulerState state{};
  std::uint64_t bytes = 0;  // that it takes, weights and what its caches may; 0: it is not loaded
  std::uint64_t loads = 0;
};

std::string metrics_text(std::span<const ModelState> models, std::size_t connections);

}  // namespace nibble::serve
