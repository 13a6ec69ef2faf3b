// SPDX-License-Identifier: Apache-2.0
//
// nibble/engine.h: a model loaded once, and several texts that it continues side by side.
//
//   engine MODEL
#include <nibble/engine.h>

#include <algorithm>
#include <iostream>

namespace {

// The most probable next token of one row of logits.
std::int32_t most_probable(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  nibble::LoadedModel loaded(nibble::open_model(argv[1]));
  const nibble::Model& model = loaded.model();
  const std::size_t vocabulary = loaded.vocabulary();

  // Each text has a sequence of its own: the keys and values that the model keeps of it.
  std::vector<std::string> texts = {"Once upon a time", "Tom had a", "The little dog"};
  std::vector<nibble::Sequence> sequences;
  std::vector<std::vector<std::int32_t>> tokens;  // that each sequence reads next
  for (const std::string& text : texts) {
    sequences.push_back(loaded.new_sequence(64));
    tokens.push_back(model.encode(text));
  }

  // One step reads all of them: weights are fetched from memory once. Logits of the last token only.
  std::vector<float> logits(texts.size() * vocabulary);
  for (int i = 0; i < 16; ++i) {
    std::vector<nibble::SequenceInput> inputs;
    for (std::size_t s = 0; s < texts.size(); ++s) inputs.push_back({&sequences[s], tokens[s], tokens[s].size() - 1});
    loaded.step(inputs, logits);
    for (std::size_t s = 0; s < texts.size(); ++s) {
      const std::int32_t next = most_probable(std::span(logits).subspan(s * vocabulary, vocabulary));
      texts[s] += model.piece(next);
      tokens[s] = {next};
    }
  }
  for (const std::string& text : texts) std::cout << text << '\n';

  // A sequence may go back to a point and take another way. What it says then is what it said before.
  nibble::Sequence& first = sequences.front();
  const nibble::SequencePoint point = first.save();
  const std::vector<float> before = loaded.next_logits(first, tokens.front());
  first.restore(point);
  return loaded.next_logits(first, tokens.front()) == before ? 0 : 1;
}
