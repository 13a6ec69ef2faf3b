// SPDX-License-Identifier: Apache-2.0
//
// What each format costs and brings on one model: quantizes it to every format in turn (in a temporary directory, from
// which it goes straight into memory), times both ways of running each, and reads the texts with the original and all
// candidates side by side.
//
//   Comparison c = compare_formats(checkpoint, {{"heldout.txt", text}}, {.formats = {"q8_0", "q4_k_m"}}, machine);
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/speed.h"
#include "evaluate/verdict.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/progress.h"
#include "pipeline/judge/judge_models.h"
#include "pipeline/quantize/quantize_model.h"
#include "pipeline/tell/model_portrait.h"

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
  std::filesystem::path scratch{};             // where temporary models go; empty: the system's temporary directory
  std::uint64_t memory_bytes = 0;              // for candidates that are held together; 0: what the machine has free
  bool layers = false;                         // also how far each layer's output is from the original's
  std::size_t split_windows = 0;               // as JudgeOptions says
  std::optional<PortraitOptions> portraits{};  // what pictures show of each candidate; none: nothing
  bool keep_partial = false;                   // a stop gives the figures so far; otherwise it is Error(cancelled)
  ProgressCallback progress{};                 // stages "quantize", "load", "evaluate", "bench"
};

struct ComparedFormat {
  std::string format;
  QuantizeSummary summary;
  double prefill = 0, decode = 0;  // tokens per second
  std::optional<ModelPortrait> portrait{};
};

struct Comparison {
  std::uint64_t original_bytes = 0;
  double original_bits_per_weight = 0;
  std::string original_format;  // of most of its parameters
  double original_prefill = 0, original_decode = 0;
  // Of the texts, as the model's tokenizer cuts them: what the scored tokens stand for, and all tokens of the windows
  // that were read.
  std::uint64_t scored_bytes = 0, read_bytes = 0;
  PairedVerdict verdict;  // candidates: as formats
  std::vector<ComparedFormat> formats;
};

// What a byte of what was scored costs where its tokens have this perplexity, in bits: what models of different
// vocabularies can be held against each other by, where they read the same.
double bits_per_byte(double perplexity, const Comparison& comparison);
// Whether they have read about as much of the texts: 95 % at least.
bool have_read_alike(const Comparison& a, const Comparison& b);

// What can be told before any work: that the model has a tokenizer, the texts are long enough and all formats can be
// made. Errors of quantize_model and judge_models.
void require_comparable(const SourceModel& original, const std::vector<NamedText>& texts,
                        const CompareOptions& options);
// Errors of quantize_model and judge_models; require_comparable's before the first format is made.
Comparison compare_formats(const SourceModel& original, const std::vector<NamedText>& texts,
                           const CompareOptions& options, Machine& machine);

}  // namespace nibble
