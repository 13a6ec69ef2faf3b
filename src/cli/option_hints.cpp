// SPDX-License-Identifier: Apache-2.0
#include "cli/option_hints.h"

#include <algorithm>
#include <array>
#include <vector>

namespace nibble::cli {
namespace {

constexpr auto kHints = std::to_array<OptionHint>({{"texts", "--text FILE"},
                                                   {"calibration", "--text FILE, --stats FILE or --imatrix FILE"},
                                                   {"second_moments", "calibrate --full, or --text FILE"},
                                                   {"verify", "--verify FILE"},
                                                   {"verify.texts", "a longer --text, or --verify FILE"},
                                                   {"length", "--length"},
                                                   {"size", "--size"},
                                                   {"context", "--context, --tokens, --kv q4_0"},
                                                   {"split_windows", "--split 32"},
                                                   {"activations", "--activations f32"},
                                                   {"allow_requantize", "--allow-requantize"},
                                                   {"lossy", "--dtype f32, or --lossy"},
                                                   {"original", "--original"},
                                                   {"strict", "--strict, without which this is a note"},
                                                   {"embedding", "--embedding, --head"},
                                                   {"include", "--include"},
                                                   {"exclude", "--exclude"},
                                                   {"memory", "--memory 24GB"},
                                                   {"budget", "--budget, --context, --kv q4_0"},
                                                   {"formats", "-f q8_0,q4_k_m"},
                                                   {"candidates", "--candidates"},
                                                   {"template", "--template FILE"},
                                                   {"output", "-o OUT.gguf or -o DIRECTORY"},
                                                   {"shape", "--shape NAME=1,3,224,224"},
                                                   {"samples", "--samples, --data"},
                                                   {"constant", "--constant NAME=16000"},
                                                   {"labels", "--labels FILE, or --teacher NET"},
                                                   {"epochs", "--epochs"},
                                                   {"batch", "--batch"},
                                                   {"tokenizer", "--tokenizer DIRECTORY"},
                                                   {"held_out", "--held-out, --validation"},
                                                   {"rate", "--rate, --matrix-rate, --clip"},
                                                   {"net_rate", "--rate, --clip"},
                                                   {"teacher", "--teacher"},
                                                   {"quantize", "--quantize"},
                                                   {"estimator", "--estimator"},
                                                   {"teacher_share", "--teacher-share"},
                                                   {"temperature", "--temperature"},
                                                   {"distillation_rate", "--rate"},
                                                   {"container", "--to"},
                                                   {"hessian", "--hessian"},
                                                   {"transform", "--transform"},
                                                   {"learning_rate", "--rate"},
                                                   {"warm_up", "--warm-up, --hold"}});

}  // namespace

std::span<const OptionHint> option_hints() { return kHints; }

std::string_view option_for(std::string_view setting) {
  const auto* const found = std::ranges::find(kHints, setting, &OptionHint::setting);
  return found == kHints.end() ? std::string_view() : found->option;
}

std::string options_there(std::string_view hint, const std::function<bool(std::string_view word)>& is_word) {
  struct Part {
    std::string_view text;
    bool is_there;
  };
  std::vector<Part> parts;
  for (std::string_view rest = hint; !rest.empty();) {
    std::size_t end = rest.size(), next = rest.size();
    for (const std::string_view between : {", or ", " or ", ", "})
      if (const std::size_t at = rest.find(between); at < end) {
        end = at;
        next = at + between.size();
      }
    const std::string_view text = rest.substr(0, end);
    rest.remove_prefix(next);
    const std::size_t option = std::min(text.starts_with('-') ? 0 : text.find(" -") + 1, text.size());
    const bool has_option = option < text.size() && text[option] == '-';
    const std::string_view name = text.substr(option, text.find_first_of(" )", option) - option);
    const std::string_view first = text.substr(0, text.find(' '));
    const bool is_there = has_option && ((!first.starts_with('-') && is_word(first)) || is_word(name));
    // What names no option tells of the one before it.
    parts.push_back({text, has_option ? is_there : parts.empty() || parts.back().is_there});
  }
  if (std::ranges::all_of(parts, &Part::is_there)) return std::string(hint);
  std::string text;
  for (const Part& part : parts)
    if (part.is_there) text += (text.empty() ? "" : ", ") + std::string(part.text);
  return text;
}

}  // namespace nibble::cli
