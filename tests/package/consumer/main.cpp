// SPDX-License-Identifier: Apache-2.0
//
// What another project does with the installed library: open, quantize, measure, generate. Argument: the source
// directory of nibble.
#include <nibble/evaluate.h>
#include <nibble/formats.h>
#include <nibble/generate.h>
#include <nibble/model.h>
#include <nibble/quantize.h>

#include <cstdio>
#include <filesystem>
#include <string>

int main(int, char** arguments) {
  const std::filesystem::path source = arguments[1], output = std::filesystem::current_path() / "consumer-test.gguf";
  const nibble::Model model = nibble::open_model(source / "models/tale-4M");
  const nibble::Quantized quantized = nibble::quantize(model, {.format = "q8_0", .output = output});
  const nibble::Model small = nibble::open_model(output);
  nibble::GenerateRequest request;
  request.max_tokens = 8;
  const nibble::GeneratedText text = nibble::generate_text(small, "Once upon a time", request, {});
  std::filesystem::remove(output);
  std::printf("%s: %zu formats, %.2f bits per weight, \"%s\"\n", std::string(nibble::version()).c_str(),
              nibble::list_format_descriptions().size(), quantized.bits_per_weight, text.text.c_str());
  return text.generated_tokens == 8 && quantized.bytes < quantized.source_bytes ? 0 : 1;
}
