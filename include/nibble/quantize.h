// SPDX-License-Identifier: Apache-2.0
//
// Making a model small.
//
//   nibble::Quantized result = nibble::quantize(model, {.format = "q4_k_m", .output = "small.gguf"});
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nibble/model.h"
#include "nibble/progress.h"

namespace nibble {

struct QuantizeRequest {
  std::string format{};            // a format, a mix, "q4_k_m", "int4:g32"
  std::filesystem::path output{};  // *.gguf: one file; anything else: a Hugging Face directory
  std::string method = "rtn";
  std::string embedding{}, head{};  // other formats for these two; empty: what `format` says
  bool allow_requantize = false;    // a model that is quantized already may be quantized again
  bool strict = false;              // what the output cannot hold is an error, not a substitution or a note
  MachineOptions machine{};
  ProgressCallback progress{};
};

struct Quantized {
  std::filesystem::path output;
  std::uint64_t bytes = 0, source_bytes = 0;
  double bits_per_weight = 0;         // of the whole output
  double linear_bits_per_weight = 0;  // of the layers' Linears
  std::uint64_t substitutions = 0;    // tensors that got another format than asked for
  std::string substitutions_text{};   // which, in words; empty when there are none
  std::vector<std::string> notes{};   // what else the output holds otherwise than the source, a sentence each
};

// The output appears whole or not at all, and is the same bytes for any number of threads.
// Errors: invalid_argument, unsupported, unusable_input (weights that are quantized already), corrupt (a weight that is
// NaN or infinite), io, resource, cancelled.
Quantized quantize(const Model& model, const QuantizeRequest& request);

}  // namespace nibble
