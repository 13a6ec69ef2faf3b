// SPDX-License-Identifier: Apache-2.0
//
// nibble/chat.h: talking to a model.
//
//   chat MODEL TEMPLATE
//
// TEMPLATE is a file that holds a chat template, for models that have none of their own.
#include <nibble/chat.h>
#include <nibble/engine.h>

#include <iostream>
#include <string>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: chat MODEL TEMPLATE\n";
    return 2;
  }
  nibble::LoadedModel model(nibble::open_model(argv[1]));

  // A conversation is a JSON list, as other programs write it. This is what the model will read of it.
  std::string conversation = R"([{"role": "user", "content": "Once upon a time"})";
  std::cout << nibble::apply_chat_template(model.model(), conversation + "]", {.chat_template = argv[2]});

  // A Chat remembers what it has read: of the next conversation, which begins as this one did, only the rest is read.
  nibble::Chat chat(model, 0, argv[2]);
  const nibble::GenerateOptions options{.max_tokens = 16, .ignore_end = true};
  const auto show = [](bool is_reasoning, std::string_view text) {
    if (!is_reasoning) std::cout << text << std::flush;
    return true;
  };
  chat.answer(conversation + "]", {}, options, show);

  conversation +=
      R"(, {"role": "assistant", "content": "There was a dog."}, {"role": "user", "content": "And then?"}])";
  const nibble::ChatAnswer second = chat.answer(conversation, {}, options, show);
  std::cout << "\nread before: " << second.kept_tokens << " of " << second.prompt_tokens << " tokens\n";
  return second.kept_tokens > 0 ? 0 : 1;
}
