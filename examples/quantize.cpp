// SPDX-License-Identifier: Apache-2.0
//
// nibble/quantize.h: a model made small in four ways: by a format, by a method that looks at data, by rules of your
// own, and within a budget.
//
//   quantize MODEL TEXT DIRECTORY        outputs go into the directory
#include <nibble/quantize.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

namespace {

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void show(const char* what, const nibble::Quantized& made) {
  std::cout << what << ": " << made.summary.output_bytes << " bytes, " << made.summary.bits_per_weight
            << " bits per weight";
  if (made.verdict) std::cout << ", divergence " << made.verdict->candidates[0].overall[nibble::Metric::kl_mean].value;
  std::cout << '\n';
  for (const std::string& note : made.summary.notes) std::cout << "  " << note << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const nibble::Model model = nibble::open_model(argv[1]);
  const std::string text = read_file(argv[2]).substr(0, 40000);  // a short text, so that it takes seconds
  const std::filesystem::path directory = argv[3];

  // A mix of llama.cpp's, byte for byte, in a file that it loads.
  show("q4_k_m", nibble::quantize(model, {.format = "q4_k_m", .output = directory / "mix.gguf"}));

  // The same formats, values chosen by what the layers see.
  nibble::QuantizeRequest request;
  request.format = "q4_k_m";
  request.output = directory / "gptq.gguf";
  request.method = "gptq";
  request.calibration.texts = {{"text", text}};
  request.calibration.sampling = {.samples = 8, .length = 128, .seed = 0};
  show("q4_k_m by gptq", nibble::quantize(model, request));

  // Rules are JSON: print them, change them, give them back.
  request = {.recipe = nibble::recipe_json("q4_k_m"), .output = directory / "recipe.gguf"};
  show("by a recipe", nibble::quantize(model, request));

  // The mix that loses least at five bits a weight, judged on a part of the text that it has not seen.
  request = {.budget = {.bits_per_weight = 5.0}, .output = directory / "budget.gguf"};
  request.calibration.texts = {{"text", text}};
  request.calibration.sampling = {.samples = 8, .length = 128, .seed = 0};
  const nibble::Quantized best = nibble::quantize(model, request);
  show("within a budget", best);
  return best.written && best.summary.bits_per_weight < 5.2 ? 0 : 1;
}
