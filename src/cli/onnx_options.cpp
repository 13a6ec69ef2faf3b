// SPDX-License-Identifier: Apache-2.0
#include "cli/onnx_options.h"

#include <algorithm>

#include "cli/option_checks.h"

namespace nibble::cli {

void add_onnx_options(CLI::App& verb, OnnxArguments& arguments) {
  verb.add_option("--onnx-type", arguments.type,
                  "Of --to onnx-genai: values, scales, keys and values in f32 (default), or in f16, as GPUs have them")
      ->check(CLI::IsMember({"f32", "f16"}));
  verb.add_option("--onnx-accuracy", arguments.options.accuracy_level,
                  "Of --to onnx-genai: what inputs of MatMulNBits are rounded to: 4: 8 bits (default, the fastest on "
                  "processors), 1: f32, 2: f16, 0: as the runtime likes, which on processors is exact")
      ->check(CLI::Range(0, 4));
}

OnnxOptions onnx_options(const CLI::App& verb, const OnnxArguments& arguments,
                         std::span<const std::string> containers) {
  const auto writes = [&](std::string_view name) { return std::ranges::find(containers, name) != containers.end(); };
  for (const char* const option : {"--onnx-type", "--onnx-accuracy"})
    refuse_without_effect(verb, option, writes("onnx-genai"), "without --to onnx-genai");
  OnnxOptions options = arguments.options;
  options.is_half = arguments.type == "f16";
  return options;
}

}  // namespace nibble::cli
