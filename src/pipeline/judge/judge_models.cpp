// SPDX-License-Identifier: Apache-2.0
#include "pipeline/judge/judge_models.h"

#include <algorithm>
#include <functional>

#include "base/memory.h"
#include "model/config.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "pipeline/budget/candidate_group.h"

namespace nibble {

namespace {

using Encoded = std::vector<std::vector<std::int32_t>>;  // of each text

EncodeOptions encoding_of(const WindowOptions& options) { return {.parse_special = options.parse_special}; }

// What `act` throws of a text is said of its name.
void each_text(const std::vector<NamedText>& texts, const std::string& prefix,
               const std::function<void(std::size_t)>& act) {
  for (std::size_t i = 0; i < texts.size(); ++i) try {
      act(i);
    } catch (const Error& error) {
      throw Error(error.kind(), prefix + texts[i].name + ": " + error.what(), error.setting());
    }
}

Encoded encode_texts(const std::vector<NamedText>& texts, const Tokenizer& tokenizer, const WindowOptions& options) {
  if (texts.empty()) throw Error(ErrorKind::invalid_argument, "no text to measure on", "texts");
  Encoded encoded(texts.size());
  each_text(texts, "", [&](std::size_t i) { encoded[i] = tokenizer.encode(texts[i].text, encoding_of(options)); });
  return encoded;
}

std::vector<ReadText> cut_texts(const std::vector<NamedText>& texts, const Encoded& encoded, const Tokenizer& tokenizer,
                                std::size_t context, const WindowOptions& options) {
  std::vector<ReadText> result;
  each_text(texts, "", [&](std::size_t i) {
    result.push_back({texts[i].name, cut_windows(encoded[i], bos_of(tokenizer), context, options)});
  });
  return result;
}

void require_same_reading(const Encoded& original, const NamedCheckpoint& candidate,
                          const std::vector<NamedText>& texts, const WindowOptions& options) {
  const Tokenizer& own = candidate.checkpoint->tokenizer();
  each_text(texts, candidate.name + ", ",
            [&](std::size_t i) { require_same_tokens(original[i], own, texts[i].text, encoding_of(options)); });
}

// Weights as they lie in memory, and a little for caches.
std::uint64_t resident_estimate(const Checkpoint& checkpoint) {
  return checkpoint.file_bytes() + checkpoint.file_bytes() / 8 + (64u << 20);
}

}  // namespace

std::size_t count_that_fit(const std::vector<NamedCheckpoint>& models, std::size_t first, std::uint64_t memory_bytes,
                           std::uint64_t copies) {
  const std::uint64_t memory = memory_bytes > 0 ? memory_bytes : available_memory() / 10 * 8;
  std::uint64_t needed = 0;
  std::size_t count = 0;
  for (; first + count < models.size(); ++count) {
    const std::uint64_t bytes = copies * resident_estimate(*models[first + count].checkpoint);
    if (count > 0 && bytes > memory - std::min(memory, needed)) break;
    needed += bytes;
  }
  return count;
}

std::vector<ReadText> read_texts(const std::vector<NamedText>& texts, const Tokenizer& tokenizer, std::size_t context,
                                 const WindowOptions& options) {
  return cut_texts(texts, encode_texts(texts, tokenizer, options), tokenizer, context, options);
}

PairedVerdict judge_models(const SourceModel& original, const std::vector<NamedCheckpoint>& candidates,
                           const std::vector<NamedText>& texts, const JudgeOptions& options, Machine& machine) {
  const Tokenizer& tokenizer = original.tokenizer();
  const ModelConfig& config = original.config();
  const Encoded encoded = encode_texts(texts, tokenizer, options.windows);
  std::size_t context = config.context;
  for (const NamedCheckpoint& candidate : candidates) {
    require_same_reading(encoded, candidate, texts, options.windows);
    const ModelConfig& own = candidate.checkpoint->config();
    try {
      require_same_vocabulary(config.vocab_size, own.vocab_size);
    } catch (const Error& error) {
      throw Error(error.kind(), candidate.name + ": " + error.what(), error.setting());
    }
    context = std::min<std::size_t>(context, own.context);
  }
  SideBySide pass(cut_texts(texts, encoded, tokenizer, context, options.windows), candidates.size(),
                  options.split_windows);
  const DecoderOptions decoder_options{.kernels = options.kernels, .kv = options.kv, .progress = options.progress};
  DecoderOptions reference_options = decoder_options;
  if (options.original_kv && !candidates.empty()) reference_options.kv = options.original_kv;
  Decoder reference(original, reference_options, machine);
  const bool split = splits_loss(reference, options.split_windows, options.split_required) && !candidates.empty();

  std::vector<std::string> names;
  try {
    if (candidates.empty()) pass.run(reference, {}, 0, {.progress = options.progress}, machine.pool);
    for (std::size_t first = 0; first < candidates.size();) {
      const std::size_t count = count_that_fit(candidates, first, options.memory_bytes, split ? 2 : 1);
      CandidateGroup group(reference, split);
      for (std::size_t i = first; i < first + count; ++i)
        group.add(*candidates[i].checkpoint, decoder_options, machine);
      const std::size_t judged = names.size();
      for (std::size_t i = first; i < first + count; ++i) names.push_back(candidates[i].name);
      try {
        group.read(pass, first, {.progress = options.progress, .layers = options.layers}, machine.pool);
      } catch (const Error& error) {
        // Of this group not one window: what is known is about the groups before.
        if (error.kind() == ErrorKind::cancelled && judged > 0 && pass.windows_done(names.size()) == 0)
          names.resize(judged);
        throw;
      }
      first += count;
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::cancelled || !options.keep_partial || pass.windows_done(names.size()) == 0) throw;
  }
  PairedVerdict verdict = judge(pass, names, machine.pool);
  for (std::size_t i = names.size(); i < candidates.size(); ++i) verdict.left_out.push_back(candidates[i].name);
  return verdict;
}

}  // namespace nibble
