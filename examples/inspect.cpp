// SPDX-License-Identifier: Apache-2.0
//
// nibble/model.h: what is in a model, and text to tokens and back. Nothing is loaded for it: files are mapped.
//
//   inspect MODEL        MODEL: a Hugging Face directory, a .safetensors or a .gguf file
#include <nibble/model.h>

#include <cmath>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const nibble::Model model = nibble::open_model(argv[1]);
  const nibble::ModelInfo& info = model.info();
  std::cout << info.architecture << ", " << info.layers << " layers, " << info.parameters << " parameters in "
            << info.bits_per_weight << " bits each\n";

  // Tensors have names, shapes and formats. One of them, whatever its format, is read as floats.
  const std::vector<nibble::TensorInfo> tensors = model.list_tensors();
  const nibble::TensorInfo& first = tensors.front();
  double squares = 0;
  for (const float x : model.read_tensor(first.name)) squares += static_cast<double>(x) * static_cast<double>(x);
  std::cout << first.name << " in " << first.format << ": root mean square "
            << std::sqrt(squares / static_cast<double>(first.elements)) << '\n';

  // The model's own tokenizer. What comes back is the text that went in.
  const std::string text = "Once upon a time";
  const std::vector<std::int32_t> tokens = model.encode(text, {.add_special = false});
  std::cout << '"' << text << "\" is " << tokens.size() << " tokens:";
  for (const std::int32_t token : tokens) std::cout << " [" << model.piece(token) << ']';
  std::cout << '\n';
  return model.decode(tokens) == text ? 0 : 1;
}
