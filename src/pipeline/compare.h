// SPDX-License-Identifier: Apache-2.0
//
// What each format costs and brings on one model: quantizes it to every format in turn (in a temporary directory), reads the text with
// the original and the quantized model side by side, and times both ways of running it.
//
//   Comparison c = compare_formats(checkpoint, text, {.formats = {"q8_0", "q4_k_m"}}, pool);
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evaluate/divergence.h"
#include "evaluate/speed.h"
#include "io/checkpoint.h"
#include "kernels/linear.h"
#include "nibble/progress.h"
#include "pipeline/quantize_model.h"

namespace nibble {

// What `compare` shows unless told otherwise.
std::vector<std::string> default_compare_formats();

struct CompareOptions {
  std::vector<std::string> formats = default_compare_formats();
  KernelOptions kernels{};
  std::optional<KvType> kv = {};  // none: each model's own default
  WindowOptions windows{};
  std::string method = "rtn";
  SpeedOptions speed{.prompt_tokens = 512, .generated_tokens = 32, .repetitions = 3, .warm_up = true, .progress = {}};
  std::filesystem::path scratch{};  // where temporary models go; empty: the system's temporary directory
  ProgressCallback progress{};      // stages "quantize", "load", "evaluate", "bench"
};

struct ComparedFormat {
  std::string format;
  QuantizeSummary summary;
  Divergence divergence;           // against the original
  double prefill = 0, decode = 0;  // tokens per second
};

struct Comparison {
  std::uint64_t original_bytes = 0;
  double original_bits_per_weight = 0;
  std::string original_format;  // of most of its parameters
  Perplexity original;
  double original_prefill = 0, original_decode = 0;
  std::vector<ComparedFormat> formats;
};

// Errors of quantize_model and measure_divergence. All formats are judged before the first is made.
Comparison compare_formats(const Checkpoint& original, std::string_view text, const CompareOptions& options, ThreadPool& pool);

}  // namespace nibble
