// SPDX-License-Identifier: Apache-2.0
//
// A model's chat template: a conversation as the text that the model was trained on. Jinja, as transformers renders it
// (docs/chat-templates.md says what of it), with limits on steps, depth and memory, so that a template from anywhere
// can be run. Immutable after parsing, safe from many threads.
//
//   const ChatTemplate chat_template = ChatTemplate::parse(tokenizer.chat_template(), "model/chat_template.jinja");
//   const std::string text = chat_template.render({.messages = parse_json(R"([{"role": "user", "content": "Hi"}])",
//   ""),
//                                                  .add_generation_prompt = true});
#pragma once

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "model/chat/rendering.h"
#include "model/chat/template_error.h"

namespace nibble {

// What a template is given. JSON as parse_json() gives it.
struct Conversation {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();  // objects, mostly of "role" and "content"
  nlohmann::ordered_json tools = nullptr;                             // a list of JSON schemas
  nlohmann::ordered_json documents = nullptr;
  bool add_generation_prompt = false;  // ends where the model is to go on
  std::string bos_token, eos_token;
  // What else the template sees by name ("enable_thinking"); wins over the tokens above.
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  std::optional<std::tm> now;  // what strftime_now tells; none: local time
};

class ChatTemplate {
 public:
  // source: names the template in messages. TemplateError: no Jinja, or a part of it that is not supported.
  static ChatTemplate parse(std::string_view text, std::string source, const TemplateLimits& limits = {});

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // TemplateError, whose cause tells a template's own complaint about the conversation (raised) from a limit and from a
  // fault of the template; Error(invalid_argument) for messages that are no list of objects.
  std::string render(const Conversation& conversation) const;

 private:
  struct State;
  explicit ChatTemplate(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace nibble
