// SPDX-License-Identifier: Apache-2.0
//
// The programs that outputs are made for: which containers each reads, and what it does not take of what these hold.
// docs/runtimes.md says what of it was tried. Immutable. Internal to pipeline/ and cli/.
//
//   const Runtime& runtime = find_runtime("vllm");
//   if (const std::string why = runtime.refusal(tensor); !why.empty()) ...
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "io/checkpoint_writer.h"

namespace nibble {

struct Runtime {
  std::string_view name;                         // what --for takes
  std::string_view title;                        // "vLLM"
  std::span<const std::string_view> containers;  // by name, the one to take first
  // Why it does not take a matrix in codes, whatever the container; empty: it does.
  std::string (*refusal)(const PlannedTensor& matrix);
};

std::span<const Runtime> list_runtimes();
std::string runtime_names();  // "llama.cpp, mlx, ..."

// Error(invalid_argument) lists the known names.
const Runtime& find_runtime(std::string_view name);

}  // namespace nibble
