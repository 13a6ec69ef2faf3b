// SPDX-License-Identifier: Apache-2.0
//
// Models against their original on texts: opens what there is to open, checks that all read the texts alike, runs them
// side by side.
//
//   PairedVerdict verdict = judge_models(original, {{"q4", &candidate}}, {{"stories.txt", text}}, {}, machine);
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "evaluate/verdict.h"
#include "kernels/linear/linear.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/model.h"

namespace nibble {

struct NamedCheckpoint {
  std::string name;
  const SourceModel* checkpoint = nullptr;
};

// Enough for intervals, and few enough that long texts take little longer.
inline constexpr std::size_t kUsualSplitWindows = 32;

struct JudgeOptions {
  KernelOptions kernels{};
  std::optional<KvType> kv{};           // none: each model's own default
  std::optional<KvType> original_kv{};  // of the original where there are candidates; none: as `kv` says
  WindowOptions windows{};
  ProgressCallback progress{};  // stages "load", "evaluate"
  bool keep_partial =
      false;            // a stop (progress returning false) gives the figures so far; otherwise it is Error(cancelled)
  bool layers = false;  // also how far each layer's output is from the original's
  // How many windows, spread over all texts, each candidate whose arithmetic rounds reads once more in f32, to tell
  // what of the loss is its weights'. 0: none. Nothing is split where the original's own arithmetic rounds: with
  // split_required that is Error(invalid_argument).
  std::size_t split_windows = 0;
  bool split_required = false;
  std::uint64_t memory_bytes = 0;  // for candidates that are held together; 0: what the machine has free
};

// The original's perplexity alone when there are no candidates. The original runs once; where the candidates do not fit
// into memory together, once for each group that does. Errors: unusable_input (a text shorter than a window),
// unsupported (tokenizers or vocabularies that differ: names text and model), invalid_argument (options that make no
// sense), not_found (no tokenizer), corrupt, cancelled.
PairedVerdict judge_models(const SourceModel& original, const std::vector<NamedCheckpoint>& candidates,
                           const std::vector<NamedText>& texts, const JudgeOptions& options, Machine& machine);

// How many of `models` from `first` on fit into this memory (0: what the machine has free) together, each in so many
// copies; at least one.
std::size_t count_that_fit(const std::vector<NamedCheckpoint>& models, std::size_t first, std::uint64_t memory_bytes,
                           std::uint64_t copies = 1);

// The texts' windows by one tokenizer. context: the shortest of the models'. Errors name the text.
std::vector<ReadText> read_texts(const std::vector<NamedText>& texts, const Tokenizer& tokenizer, std::size_t context,
                                 const WindowOptions& options);

}  // namespace nibble
