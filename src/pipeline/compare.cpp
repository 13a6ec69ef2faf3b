// SPDX-License-Identifier: Apache-2.0
#include "pipeline/compare.h"

#include <algorithm>
#include <map>

#include "base/memory.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "pipeline/inspect.h"
#include "pipeline/temporary_directory.h"

namespace nibble {
namespace {

std::string main_format_of(const Checkpoint& checkpoint) {
  std::map<std::string, std::uint64_t> elements;
  for (const StoredTensor& tensor : checkpoint.tensors())
    if (tensor.view.format) elements[tensor.view.format->name()] += tensor.view.rows * tensor.view.cols;
  const auto most = std::ranges::max_element(elements, {}, [](const auto& item) { return item.second; });
  return most == elements.end() ? std::string() : most->first;
}

struct Pace {
  double prefill = 0, decode = 0;
};

Pace measure_pace(Decoder& decoder, const CompareOptions& options) {
  SpeedOptions speed = options.speed;
  // A model that cannot take the usual prompt is timed on what it can.
  speed.prompt_tokens = std::min<std::size_t>(speed.prompt_tokens, decoder.config().context);
  speed.generated_tokens = std::min<std::size_t>(speed.generated_tokens, decoder.config().context);
  speed.progress = options.progress;
  Pace pace;
  for (const Speed& result : measure_speed(decoder, speed)) (result.test.starts_with("pp") ? pace.prefill : pace.decode) = result.tokens_per_second;
  return pace;
}

QuantizeModelOptions quantize_options(const std::string& format, const CompareOptions& options, const std::filesystem::path& directory) {
  QuantizeModelOptions result;
  result.recipe = find_recipe(format);
  result.method = options.method;
  result.allow_requantize = true;
  result.output = directory / (covers_linears_only(result.recipe) ? "candidate" : "candidate.gguf");
  return result;
}

}  // namespace

std::vector<std::string> default_compare_formats() {
  return {"f32", "f16", "bf16", "q8_0", "int8:row", "q6_k", "q4_k_m", "q4_0", "int4:g32", "int4:row", "int3:g32", "int2:g32"};
}

Comparison compare_formats(const Checkpoint& original, const std::vector<NamedText>& texts, const CompareOptions& options, ThreadPool& pool) {
  if (options.formats.empty()) throw Error(ErrorKind::invalid_argument, "no formats to compare; name some, as in -f q8_0,q4_k_m");
  for (const std::string& format : options.formats) {
    QuantizeModelOptions trial = quantize_options(format, options, {});
    trial.dry_run = true;
    quantize_model(original, trial, pool, {});
  }
  const DecoderOptions decoder_options{.kernels = options.kernels, .kv = options.kv, .progress = options.progress};
  Decoder reference(original, decoder_options, pool);
  const Tokenizer tokenizer = Tokenizer::from_checkpoint(original);
  SideBySide pass(read_texts(texts, tokenizer, reference.config().context, options.windows), options.formats.size());

  Comparison comparison;
  comparison.original_bytes = original.file_bytes();
  comparison.original_bits_per_weight = describe_model(original).bits_per_weight;
  comparison.original_format = main_format_of(original);
  const Pace reference_pace = measure_pace(reference, options);
  comparison.original_prefill = reference_pace.prefill;
  comparison.original_decode = reference_pace.decode;

  const std::uint64_t memory = options.memory_bytes > 0 ? options.memory_bytes : available_memory() / 10 * 8;
  std::vector<Decoder> held;
  std::uint64_t held_bytes = 0, largest = 0;
  const auto read_with_held = [&] {
    std::vector<Decoder*> group;
    for (Decoder& decoder : held) group.push_back(&decoder);
    pass.run(reference, group, comparison.formats.size() - held.size(), {.progress = options.progress}, pool);
    held.clear();
    held_bytes = 0;
  };
  for (const std::string& format : options.formats) {
    // The next candidate may be as large as any before it, and no larger than the original.
    if (!held.empty() && held_bytes + std::max(largest, comparison.original_bytes) > memory) read_with_held();
    const TemporaryDirectory scratch(options.scratch);
    ComparedFormat result;
    result.format = format;
    const QuantizeModelOptions quantize = quantize_options(format, options, scratch.path());
    result.summary = quantize_model(original, quantize, pool, options.progress);
    const Checkpoint candidate = Checkpoint::open(quantize.output);
    if (options.portraits) result.portrait = portray(original, candidate, *options.portraits, pool);
    held.emplace_back(candidate, decoder_options, pool);
    const std::uint64_t bytes = held.back().resident_bytes() + held.back().new_cache(pass.texts().front().windows.context).resident_bytes();
    held_bytes += bytes;
    largest = std::max(largest, bytes);
    const Pace pace = measure_pace(held.back(), options);
    result.prefill = pace.prefill;
    result.decode = pace.decode;
    comparison.formats.push_back(std::move(result));
  }
  read_with_held();
  comparison.verdict = judge(pass, options.formats, pool);
  return comparison;
}

}  // namespace nibble
