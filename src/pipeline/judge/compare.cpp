// SPDX-License-Identifier: Apache-2.0
#include "pipeline/judge/compare.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/memory.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/error.h"
#include "pipeline/budget/candidate_group.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/temporary_directory.h"
#include "pipeline/tell/inspect.h"

namespace nibble {
namespace {

constexpr double kAlike = 0.95;  // of the bytes that another model has read: the last window of a text is never whole

std::string main_format_of(const SourceModel& checkpoint) {
  std::map<std::string, std::uint64_t> elements;
  for (const StoredTensor& tensor : checkpoint.tensors())
    if (tensor.values.format()) elements[tensor.values.format()->name()] += tensor.values.rows() * tensor.values.cols();
  const auto most = std::ranges::max_element(elements, {}, [](const auto& item) { return item.second; });
  return most == elements.end() ? std::string() : most->first;
}

// Of what was read so far.
void count_bytes(const SideBySide& pass, const Tokenizer& tokenizer, Comparison& comparison) {
  for (std::size_t t = 0; t < pass.texts().size(); ++t) {
    const Windows& windows = pass.texts()[t].windows;
    for (std::size_t w = 0; w < comparison.verdict.texts[t].windows; ++w)
      for (std::size_t i = 0; i < windows.context; ++i) {
        const std::int32_t token = windows.window(w)[i];
        if (tokenizer.is_special(token)) continue;  // stands for nothing
        const std::uint64_t bytes = tokenizer.piece(token).size();
        comparison.read_bytes += bytes;
        if (i >= windows.first_scored) comparison.scored_bytes += bytes;
      }
  }
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
  for (const Speed& result : measure_speed(decoder, speed))
    (result.test.starts_with("pp") ? pace.prefill : pace.decode) = result.tokens_per_second;
  return pace;
}

// Models are judged in f32 where they are not quantized, but run by whoever uses them with native activations.
Pace pace_in_use(const SourceModel& checkpoint, Decoder& judged, const CompareOptions& options, Machine& machine) {
  if (options.kernels.activations != ActivationMode::automatic || judged.arithmetic() != Arithmetic::f32 ||
      main_format_of(checkpoint) != "bf16")
    return measure_pace(judged, options);
  DecoderOptions in_use{.kernels = options.kernels, .kv = options.kv, .progress = options.progress};
  in_use.kernels.activations = ActivationMode::native;
  Decoder decoder(checkpoint, in_use, machine);
  return measure_pace(decoder, options);
}

QuantizeModelOptions quantize_options(const std::string& format, const CompareOptions& options,
                                      const std::filesystem::path& directory) {
  QuantizeModelOptions result;
  result.recipe = find_recipe(format);
  result.method = options.method;
  result.allow_requantize = true;
  result.output = directory / (covers_linears_only(result.recipe) ? "candidate" : "candidate.gguf");
  return result;
}

// Candidates, held in memory until they are read together.
class Candidates {
 public:
  // held: empty.
  Candidates(const SourceModel& original, CandidateGroup held, SideBySide& pass, const CompareOptions& options,
             Machine& machine)
      : original_(original),
        held_(std::move(held)),
        pass_(pass),
        options_(options),
        machine_(machine),
        memory_(options.memory_bytes > 0 ? options.memory_bytes : available_memory() / 10 * 8) {}

  // Those held are read first when there may be no room for another one.
  ComparedFormat make(const std::string& format) {
    // The next candidate may be as large as any before it, and no larger than the original.
    if (held_.size() > 0 && held_bytes_ + std::max(largest_, original_.file_bytes()) > memory_) read();
    const TemporaryDirectory scratch(options_.scratch);
    ComparedFormat result;
    result.format = format;
    const QuantizeModelOptions quantize = quantize_options(format, options_, scratch.path());
    result.summary = quantize_model(original_, quantize, machine_, options_.progress);
    const SourceModel candidate = SourceModel::open(quantize.output);
    if (options_.portraits) result.portrait = portray(original_, candidate, *options_.portraits, machine_.pool);
    Decoder& decoder = held_.add(
        candidate, DecoderOptions{.kernels = options_.kernels, .kv = options_.kv, .progress = options_.progress},
        machine_);
    const std::uint64_t bytes = held_.resident_bytes(pass_.texts().front().windows.context);
    largest_ = std::max(largest_, bytes - held_bytes_);
    held_bytes_ = bytes;
    const Pace pace = pace_in_use(candidate, decoder, options_, machine_);
    result.prefill = pace.prefill;
    result.decode = pace.decode;
    return result;
  }

  void read() {
    const std::size_t first = judged_, all = first + held_.size();
    try {
      held_.read(pass_, first, {.progress = options_.progress, .layers = options_.layers}, machine_.pool);
    } catch (const Error&) {
      if (pass_.windows_done(all) > 0) judged_ = all;
      throw;
    }
    judged_ = all;
    held_.clear();
    held_bytes_ = 0;
  }

  // How many have been read, at least in part.
  std::size_t judged() const { return judged_; }

 private:
  const SourceModel& original_;
  CandidateGroup held_;
  SideBySide& pass_;
  const CompareOptions& options_;
  Machine& machine_;
  std::uint64_t memory_, held_bytes_ = 0, largest_ = 0;
  std::size_t judged_ = 0;
};

}  // namespace

std::vector<std::string> default_compare_formats() {
  return {"f32",    "f16",  "bf16",     "q8_0",     "int8:row",        "q6_k",
          "q4_k_m", "q4_0", "int4:g32", "int4:row", "int3:g32:signed", "int2:g32:half"};
}

double bits_per_byte(double perplexity, const Comparison& comparison) {
  return std::log2(perplexity) * static_cast<double>(comparison.verdict.tokens_scored) /
         static_cast<double>(std::max<std::uint64_t>(1, comparison.scored_bytes));
}

bool have_read_alike(const Comparison& a, const Comparison& b) {
  const auto [less, more] = std::minmax(a.read_bytes, b.read_bytes);
  return static_cast<double>(less) >= kAlike * static_cast<double>(more);
}

void require_comparable(const SourceModel& original, const std::vector<NamedText>& texts,
                        const CompareOptions& options) {
  if (options.formats.empty()) throw Error(ErrorKind::invalid_argument, "no formats to compare; name some", "formats");
  for (const std::string& format : options.formats)
    plan_quantization(original, quantize_options(format, options, {}));  // throws where it cannot be made
  read_texts(texts, original.tokenizer(), original.config().context, options.windows);
}

Comparison compare_formats(const SourceModel& original, const std::vector<NamedText>& texts,
                           const CompareOptions& options, Machine& machine) {
  require_comparable(original, texts, options);
  const DecoderOptions decoder_options{.kernels = options.kernels, .kv = options.kv, .progress = options.progress};
  Decoder reference(original, decoder_options, machine);
  const Tokenizer& tokenizer = original.tokenizer();
  SideBySide pass(read_texts(texts, tokenizer, reference.config().context, options.windows), options.formats.size(),
                  options.split_windows);

  Comparison comparison;
  comparison.original_bytes = original.file_bytes();
  comparison.original_bits_per_weight = describe_weights(original).bits_per_weight;
  comparison.original_format = main_format_of(original);
  const Pace reference_pace = pace_in_use(original, reference, options, machine);
  comparison.original_prefill = reference_pace.prefill;
  comparison.original_decode = reference_pace.decode;

  Candidates candidates(original, CandidateGroup(reference, splits_loss(reference, options.split_windows, false)), pass,
                        options, machine);
  try {
    for (const std::string& format : options.formats) comparison.formats.push_back(candidates.make(format));
    candidates.read();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::cancelled || !options.keep_partial || candidates.judged() == 0) throw;
  }
  comparison.formats.resize(candidates.judged());
  const auto first_left_out = options.formats.begin() + static_cast<std::ptrdiff_t>(candidates.judged());
  comparison.verdict = judge(pass, {options.formats.begin(), first_left_out}, machine.pool);
  comparison.verdict.left_out.assign(first_left_out, options.formats.end());
  count_bytes(pass, tokenizer, comparison);
  return comparison;
}

}  // namespace nibble
