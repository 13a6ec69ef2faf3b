// SPDX-License-Identifier: Apache-2.0
//
// nibble/generate.h: text from a model as it comes, and a sampler for loops of your own.
//
//   generate MODEL PROMPT
#include <nibble/engine.h>
#include <nibble/generate.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  nibble::LoadedModel loaded(nibble::open_model(argv[1]));

  nibble::GenerateOptions options;
  options.max_tokens = 24;
  options.sampler = {.temperature = 0.8, .seed = 7};  // the same seed, the same text
  std::cout << argv[2];
  const nibble::Generated made = nibble::generate(loaded, argv[2], options, [](std::string_view piece) {
    std::cout << piece << std::flush;
    return true;  // false would stop it
  });
  std::cout << "\n(" << made.tokens.size() << " tokens)\n";

  // The same by hand: logits from the model, tokens from a sampler.
  std::vector<std::int32_t> tokens = loaded.model().encode(argv[2]);
  nibble::Sequence sequence = loaded.new_sequence(tokens.size() + options.max_tokens);
  nibble::TokenSampler sampler(options.sampler);
  std::vector<float> logits = loaded.next_logits(sequence, tokens);
  std::vector<std::int32_t> chosen;
  while (chosen.size() < made.tokens.size()) {
    const std::int32_t next = sampler.choose(logits, tokens);
    chosen.push_back(next);
    tokens.push_back(next);
    logits = loaded.next_logits(sequence, std::span(&next, 1));
  }
  return chosen == made.tokens ? 0 : 1;
}
