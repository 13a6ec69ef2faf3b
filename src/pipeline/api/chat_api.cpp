// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <mutex>
#include <optional>
#include <utility>

#include "engine/chat_session.h"
#include "io/json_text.h"
#include "model/model_template.h"
#include "nibble/chat.h"
#include "nibble/error.h"
#include "pipeline/api/loaded_state.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

// Error(invalid_argument) where it is not what it should be; null for an empty text.
Json part_of(std::string_view text, const char* name, Json::value_t type) {
  if (text.empty()) return nullptr;
  Json json = parse_json(text, name);
  if (json.type() != type)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} must be a JSON {}; given: {}", name, type == Json::value_t::array ? "list" : "object",
                            json.type_name()));
  return json;
}

Conversation conversation_of(std::string_view messages, const ChatTemplateOptions& options) {
  Conversation conversation;
  conversation.messages = part_of(messages.empty() ? "[]" : messages, "messages", Json::value_t::array);
  conversation.tools = part_of(options.tools, "tools", Json::value_t::array);
  conversation.documents = part_of(options.documents, "documents", Json::value_t::array);
  if (!options.variables.empty())
    conversation.variables = part_of(options.variables, "variables", Json::value_t::object);
  conversation.add_generation_prompt = options.add_generation_prompt;
  return conversation;
}

}  // namespace

std::string apply_chat_template(const Model& model, std::string_view messages, const ChatTemplateOptions& options) {
  Conversation conversation = conversation_of(messages, options);
  return ModelTemplate::open(model.state().checkpoint, options.chat_template, !conversation.tools.is_null())
      .render(std::move(conversation));
}

struct Chat::State {
  State(LoadedModel::State& model, std::size_t context, const std::string& choice)
      : checkpoint(model.model.state().checkpoint),
        chosen(choice),
        plain(ModelTemplate::open(checkpoint, choice, false)),
        session(
            model.decoder,
            [&model](const SequenceStep& alone, std::span<float> logits, const ProgressCallback& progress) {
              const std::lock_guard lock(model.busy);
              model.decoder.step(std::span(&alone, 1), logits, progress);
            },
            checkpoint.tokenizer(), plain, context) {}

  const ModelTemplate& template_for(const Conversation& conversation) {
    if (conversation.tools.is_null()) return plain;
    if (!with_tools) with_tools = ModelTemplate::open(checkpoint, chosen, true);
    return *with_tools;
  }

  const SourceModel& checkpoint;
  std::string chosen;
  ModelTemplate plain;
  std::optional<ModelTemplate> with_tools;
  ChatSession session;
};

Chat::Chat(LoadedModel& model, std::size_t context, const std::string& chat_template) {
  if (context > model.context())
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a conversation must not be longer than the model's context of {} tokens: context {}",
                            model.context(), context));
  state_ = std::make_unique<State>(model.state(), context > 0 ? context : model.context(), chat_template);
}
Chat::Chat(Chat&&) noexcept = default;
Chat& Chat::operator=(Chat&&) noexcept = default;
Chat::~Chat() = default;

ChatAnswer Chat::answer(std::string_view messages, const ChatTemplateOptions& conversation,
                        const GenerateOptions& options, const AnswerCallback& on_text) {
  Conversation read = conversation_of(messages, conversation);
  const ModelTemplate& chat_template = state_->template_for(read);
  const ChatPrompt prompt = make_prompt(chat_template, state_->checkpoint.tokenizer(), std::move(read));
  return state_->session.answer(prompt, options, on_text);
}

void Chat::clear() noexcept { state_->session.clear(); }

}  // namespace nibble
