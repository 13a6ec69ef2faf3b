// SPDX-License-Identifier: Apache-2.0
#include "cli/option_hints.h"

#include <algorithm>
#include <array>

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
                                                   {"samples", "--samples (of eval: --data)"},
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

}  // namespace nibble::cli
