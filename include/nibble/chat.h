// SPDX-License-Identifier: Apache-2.0
//
// A model that is talked to: conversations as the text that it was trained on, and its answers.
//
//   nibble::LoadedModel loaded(nibble::open_model("small.gguf"));
//   nibble::Chat chat(loaded);
//   std::cout << chat.answer(R"([{"role": "user", "content": "Hello"}])", {}, {.max_tokens = 200}).text;
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "nibble/generate.h"

namespace nibble {

class Model;        // nibble/model.h
class LoadedModel;  // nibble/engine.h

// How a conversation becomes text. What is JSON is UTF-8.
struct ChatTemplateOptions {
  std::string chat_template{};        // a template's name, or a file that holds one; empty: the model's own
  std::string tools{}, documents{};   // JSON lists; empty: none
  std::string variables{};            // a JSON object of what the template may ask for: {"enable_thinking": false}
  bool add_generation_prompt = true;  // ends where the model is to answer
};

// messages: a JSON list of objects, mostly of "role" and "content". The text is to be encoded without add_special and
// with parse_special: templates write the tokens around it themselves. Errors: not_found (no template), unsupported (a
// part of its Jinja), corrupt (no JSON), invalid_argument (no such list or object), unusable_input (the template
// refuses the conversation). Safe from many threads.
std::string apply_chat_template(const Model& model, std::string_view messages, const ChatTemplateOptions& options = {});

struct ChatAnswer {
  std::string text, reasoning;  // without the marks between them
  StopReason reason = StopReason::max_tokens;
  std::size_t prompt_tokens = 0;  // of the whole conversation
  std::size_t kept_tokens = 0;    // of these, read before and not again
  std::size_t new_tokens = 0;     // reasoning and marks too
  double prompt_seconds = 0, decode_seconds = 0;
  std::size_t decode_tokens = 0;  // that decode_seconds were spent on
};

// Whole characters of reasoning or answer as they come, or none; false stops.
using AnswerCallback = std::function<bool(bool is_reasoning, std::string_view text)>;

// A model that is talked to: answers come apart from the thoughts before them, and what two conversations have in
// common at their beginnings is not read twice. One thread at a time; different ones from different threads. The model
// must outlive it.
class Chat {
 public:
  // context: most tokens of a conversation and its answer; 0: the model's own. chat_template: as
  // ChatTemplateOptions::chat_template. Errors: not_found (no template), unsupported, invalid_argument (a longer
  // context than the model's), resource.
  explicit Chat(LoadedModel& model, std::size_t context = 0, const std::string& chat_template = {});
  Chat(Chat&&) noexcept;
  Chat& operator=(Chat&&) noexcept;
  ~Chat();

  // The answer to a conversation, all of it: apply_chat_template has messages and conversation, whose template
  // and add_generation_prompt have no meaning here; nor has options' context. Errors: those of both, and unusable_input
  // (no room in the context), cancelled (by progress; a stop by on_text returns what there is).
  ChatAnswer answer(std::string_view messages, const ChatTemplateOptions& conversation, const GenerateOptions& options,
                    const AnswerCallback& on_text = {});
  void clear() noexcept;  // forgets what was read

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble
