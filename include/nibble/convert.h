// SPDX-License-Identifier: Apache-2.0
//
// A model into another container, or another floating-point type, with the numbers that it has: codes that both
// containers know are copied, others become codes of a format that holds the same numbers bit for bit, and what has no
// such place is refused unless losses are allowed, which are then counted.
//
//   nibble::ConvertSummary made = nibble::convert(nibble::open_model("awq-model"), {.output = "model.gguf"});
//
// Functions may be called from many threads at once, for different outputs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "nibble/evaluate.h"
#include "nibble/model.h"
#include "nibble/progress.h"
#include "nibble/quantize.h"

namespace nibble {

struct ConvertRequest {
  std::filesystem::path output{};
  std::string container{};          // one of list_container_descriptions(); empty: as the output's name ends
  std::string dtype{};              // f32, f16, bf16: every matrix; empty: as it is
  bool lossy = false;               // what has no exact place is rounded to the nearest number
  bool strict = false;              // what the container cannot hold beside tensors is an error
  bool dry_run = false;             // looks at every number, writes nothing
  bool sync = false;                // the disk confirms the output before it appears
  std::uint64_t shard_bytes = 0;    // largest weight file of a directory; 0: the container's own
  std::vector<NamedText> verify{};  // what rounding cost is judged on these, in f32; none: changes are counted alone
  MachineOptions machine{};
  ProgressCallback progress{};  // stages "compare", "quantize", "evaluate"
};

enum class Conversion {
  kept,     // the bytes, or the rows in another order
  exact,    // other bytes, the same numbers
  rounded,  // other numbers
};

// What rounding changed.
struct NumberLoss {
  std::uint64_t numbers = 0, changed = 0;
  double largest = 0;       // |new - old| / |old|; infinite where a 0 changed
  double relative_rms = 0;  // root of the summed squares of changes by those of the numbers
};

struct ConvertedTensor {
  std::string name{}, from{}, to{};  // as the output names it; formats
  Conversion conversion = Conversion::kept;
  std::uint64_t numbers = 0;
  NumberLoss loss{};  // of rounded ones
};

struct ConvertSummary {
  QuantizeSummary output;
  std::vector<ConvertedTensor> tensors;  // matrices, in the order of the output
  std::optional<PairedVerdict> verdict;  // where numbers were rounded, of what was written

  bool is_exact() const {  // every number is what it was
    for (const ConvertedTensor& tensor : tensors)
      if (tensor.conversion == Conversion::rounded) return false;
    return true;
  }
};

// The output appears whole or not at all. Errors: as quantize()'s, and with texts evaluate_against()'s; unsupported
// (without lossy) names the first tensor that has no exact place, and what would give it one.
ConvertSummary convert(const Model& model, const ConvertRequest& request);

}  // namespace nibble
