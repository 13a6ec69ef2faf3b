// SPDX-License-Identifier: Apache-2.0
#include "serve/api/asked.h"

#include <fmt/format.h>

#include <utility>

#include "serve/api/chat_answer.h"
#include "serve/api/chat_request.h"
#include "serve/api/generation_fields.h"
#include "serve/api/messages_answer.h"
#include "serve/api/messages_request.h"
#include "serve/api/responses_answer.h"
#include "serve/api/responses_request.h"
#include "serve/api/text_answer.h"
#include "serve/api/tool_fields.h"
#include "serve/grammar/gbnf.h"
#include "serve/grammar/json_schema.h"

namespace nibble::serve {

namespace {

// As many tokens as OpenAI makes of a text where nothing is said.
constexpr std::size_t kTextTokens = 16;
constexpr std::size_t kMostPrompts = 256;

void expect_room(std::size_t tokens, const ServedModel& model, const char* param) {
  if (tokens == 0) throw ApiError(400, fmt::format("{} has no tokens; give some text", param), param);
  if (tokens >= model.context)
    throw ApiError(400,
                   fmt::format("{} of {} tokens leaves no room in the context of {} tokens; shorten it", param, tokens,
                               model.context),
                   param, "context_length_exceeded");
}

// What a text is held to: response_format, or llama-server's grammar and json_schema. One of them.
std::shared_ptr<const GrammarRules> read_grammar(const RequestFields& fields) {
  const Json* const format = fields.find("response_format");
  const Json* const schema = fields.find("json_schema");
  const std::string grammar = fields.text("grammar", "");
  const char* param = !grammar.empty() ? "grammar" : schema != nullptr ? "json_schema" : "response_format";
  const auto made = [&](auto&& make) {
    try {
      return std::make_shared<const GrammarRules>(make());
    } catch (const Error& error) {
      throw ApiError(400, fmt::format("{}: {}", param, error.what()), param, "unsupported_parameter");
    }
  };
  const Json* const of_format =
      format != nullptr && format->is_object() ? RequestFields(*format).find("type") : nullptr;
  const bool is_text = format == nullptr || (of_format != nullptr && *of_format == "text");
  if ((grammar.empty() ? 0 : 1) + (schema == nullptr ? 0 : 1) + (is_text ? 0 : 1) > 1)
    throw ApiError(400, "response_format, grammar and json_schema each say what a text is; give one of them", param);
  if (!grammar.empty()) return made([&] { return parse_gbnf(grammar); });
  if (schema != nullptr) return made([&] { return grammar_of_schema(*schema); });
  if (is_text) return nullptr;
  if (of_format != nullptr && *of_format == "json_object") return made([] { return grammar_of_objects(); });
  if (of_format != nullptr && *of_format == "json_schema") {
    // The schema lies in an object of this name (chat), or beside it (responses).
    const Json* const inner = RequestFields(*format).find("json_schema");
    const Json* const given = RequestFields(inner != nullptr && inner->is_object() ? *inner : *format).find("schema");
    if (given == nullptr) throw ApiError(400, "response_format has no schema", param);
    return made([&] { return grammar_of_schema(*given); });
  }
  throw ApiError(400, "response_format is text, json_object or json_schema", param, "unsupported_parameter");
}

struct PreparedChat {
  GenerationFields generation;
  RenderedChat rendered;
  AnswerSyntax syntax;
};

// What its answer is held to: to a form, to calls of tools, or to either; or to calls once it has begun one.
void hold_to_form(PreparedChat& chat, const ToolFields& tools, const ServedModel& model) {
  GenerationRequest& request = chat.generation.request;
  GrammarStart& start = request.grammar_start;
  if (tools.choice != ToolFields::Choice::none) {
    const ToolCallForm& form = model.chat_template->tool_calls();
    chat.syntax.calls = form;
    GrammarRules calls = grammar_of_calls(form, tools.tools, tools.several_calls, *model.tokenizer);
    const bool is_free = tools.choice == ToolFields::Choice::automatic;
    if (!is_free && request.grammar)
      throw ApiError(
          400,
          "tool_choice asks for a call, and an answer of a form (response_format, json_schema or grammar) is "
          "none; give one of them, or tool_choice auto, which leaves both",
          "tool_choice", "unsupported_parameter");
    for (const CallableTool& tool : tools.tools) chat.syntax.tools.push_back(tool.name);
    if (is_free && request.grammar) {
      calls = either(*request.grammar, calls);
      chat.syntax.calls->opens_text = true;  // within the form that was asked for nothing is a call
    }
    if (is_free && !request.grammar) {
      start.opening = form.opening;
      start.opens_text = form.opens_text;
    }
    request.grammar = std::make_shared<const GrammarRules>(std::move(calls));
  }
  const std::optional<ReasoningMarks>& marks = chat.syntax.marks;
  if (!request.grammar || !marks) return;
  start.thought_open = marks->open;
  start.thought_close = marks->close;
  start.begins_in_thought = chat.syntax.begins_in_reasoning;
  if (!start.begins_in_thought || !start.opening.empty()) return;
  if (!marks->answer.empty())
    throw ApiError(400,
                   "this conversation begins with the model's thoughts, behind which no form can begin; ask the "
                   "template for none (chat_template_kwargs)",
                   tools.choice == ToolFields::Choice::required ? "tool_choice" : "response_format",
                   "unsupported_parameter");
  request.grammar = std::make_shared<const GrammarRules>(behind_new_lines(*request.grammar));
}

PreparedChat prepare_chat(const Json& body, const ServedModel& model) {
  const RequestFields fields(body);
  PreparedChat chat{.generation = read_generation_fields(fields, model, SIZE_MAX), .rendered = {}, .syntax = {}};
  ToolFields tools = read_tools(fields);
  chat.generation.request.grammar = read_grammar(fields);
  if (chat.generation.request.max_tokens == 0) throw ApiError(400, "max_tokens must be at least 1", "max_tokens");
  chat.rendered = render_chat(read_conversation(fields, std::move(tools.told), model), model);
  expect_room(chat.rendered.ids.size(), model, "messages");
  const std::optional<ReasoningMarks>& marks = model.chat_template->reasoning();
  chat.syntax.marks = marks;
  chat.syntax.begins_in_reasoning = marks && ends_in_reasoning(*marks, chat.rendered.text);
  hold_to_form(chat, tools, model);
  return chat;
}

struct TextPrompt {
  std::string text;
  std::vector<std::int32_t> ids;
};

struct TextPrompts {
  std::vector<TextPrompt> prompts;
  bool are_texts = true;
};

// A text, several, a list of tokens, or several of those.
TextPrompts read_prompts(const RequestFields& fields, const ServedModel& model) {
  const Tokenizer& tokenizer = *model.tokenizer;
  const Json* const given = fields.find("prompt");
  if (given == nullptr) throw ApiError(400, "prompt is missing: a text, or a list of tokens", "prompt");
  TextPrompts read;
  const auto add_text = [&](const Json& text) {
    if (!text.is_string()) throw ApiError(400, "prompt mixes texts with something else", "prompt");
    const auto string = text.get<std::string>();
    read.prompts.push_back({string, tokenizer.encode(string, {.parse_special = true})});
  };
  const auto add_ids = [&](const Json& list) {
    std::vector<std::int32_t> ids = RequestFields::ids(list, "prompt");
    for (const std::int32_t id : ids)
      if (static_cast<std::size_t>(id) >= model.vocabulary || static_cast<std::size_t>(id) >= tokenizer.vocab_size())
        throw ApiError(400, fmt::format("prompt has a token outside the vocabulary of {}: {}", model.vocabulary, id),
                       "prompt");
    std::string text;
    for (const std::int32_t id : ids) text += tokenizer.piece(id);
    read.prompts.push_back({std::move(text), std::move(ids)});
  };
  if (given->is_string()) {
    add_text(*given);
  } else if (given->is_array() && !given->empty()) {
    if (given->size() > kMostPrompts && !given->front().is_number())
      throw ApiError(400, fmt::format("prompt has more than {} texts", kMostPrompts), "prompt");
    read.are_texts = given->front().is_string();
    if (given->front().is_number())
      add_ids(*given);
    else
      for (const Json& one : *given) read.are_texts ? add_text(one) : add_ids(one);
  } else {
    throw ApiError(400, "prompt must be a text, or a list of tokens", "prompt");
  }
  for (const TextPrompt& prompt : read.prompts) expect_room(prompt.ids.size(), model, "prompt");
  return read;
}

}  // namespace

Asked ask_chat(const Json& body, const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
               const std::string& id) {
  PreparedChat chat = prepare_chat(body, model);
  GenerationFields& generation = chat.generation;
  const RequestFields fields(body);
  const bool tells = fields.flag("logprobs", false);
  const std::size_t chances = fields.whole("top_logprobs", 0, 0, kMostChances);
  if (chances > 0 && !tells) throw ApiError(400, "top_logprobs needs logprobs to be true", "top_logprobs");
  if (tells) generation.request.told_chances = chances;
  ChatAnswerSettings settings{.id = "chatcmpl-" + id,
                              .model = model.names.front(),
                              .created = std::time(nullptr),
                              .streams = generation.streams,
                              .includes_usage = generation.includes_usage,
                              .tells_logprobs = tells,
                              .choices = generation.choices,
                              .syntax = std::move(chat.syntax)};
  Asked asked;
  for (std::size_t i = 0; i < generation.choices; ++i)
    asked.requests.push_back(choice_of(generation, chat.rendered.ids, i));
  asked.answer = std::make_shared<ChatAnswer>(std::move(exchange), std::move(settings), *model.tokenizer);
  return asked;
}

Asked ask_messages(const Json& body, const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                   const std::string& id) {
  PreparedChat chat = prepare_chat(chat_of_messages(body, true), model);
  Asked asked;
  asked.answer = std::make_shared<MessagesAnswer>(std::move(exchange),
                                                  MessagesAnswerSettings{.id = "msg_" + id,
                                                                         .model = model.names.front(),
                                                                         .streams = chat.generation.streams,
                                                                         .prompt_tokens = chat.rendered.ids.size(),
                                                                         .syntax = std::move(chat.syntax)});
  asked.requests.push_back(choice_of(chat.generation, std::move(chat.rendered.ids), 0));
  return asked;
}

Asked ask_responses(const Json& body, const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                    const std::string& id) {
  PreparedChat chat = prepare_chat(chat_of_responses(body), model);
  const RequestFields fields(body);
  Json repeated = {{"temperature", chat.generation.request.sampler.temperature},
                   {"top_p", chat.generation.request.sampler.top_p}};
  for (const char* const same : {"tools", "tool_choice", "parallel_tool_calls"})
    if (const Json* const field = fields.find(same)) repeated[same] = *field;
  for (const char* const same : {"instructions", "max_output_tokens", "metadata", "reasoning"}) {
    const Json* const field = fields.find(same);
    repeated[same] = field != nullptr ? *field : std::string_view(same) == "metadata" ? Json::object() : Json(nullptr);
  }
  Asked asked;
  asked.answer =
      std::make_shared<ResponsesAnswer>(std::move(exchange), ResponsesAnswerSettings{.id = id,
                                                                                     .model = model.names.front(),
                                                                                     .created = std::time(nullptr),
                                                                                     .streams = chat.generation.streams,
                                                                                     .asked = std::move(repeated),
                                                                                     .syntax = std::move(chat.syntax)});
  asked.requests.push_back(choice_of(chat.generation, std::move(chat.rendered.ids), 0));
  return asked;
}

Asked ask_text(const Json& body, const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
               const std::string& id) {
  const RequestFields fields(body);
  GenerationFields generation = read_generation_fields(fields, model, kTextTokens);
  generation.request.grammar = read_grammar(fields);
  const bool echoes = fields.flag("echo", false), tells = fields.find("logprobs") != nullptr;
  if (tells) {
    generation.request.told_chances = fields.whole("logprobs", 0, 0, kMostChances);
    generation.request.tells_prompt = echoes;
  }
  TextPrompts read = read_prompts(fields, model);
  TextAnswerSettings settings{.id = "cmpl-" + id,
                              .model = model.names.front(),
                              .created = std::time(nullptr),
                              .streams = generation.streams,
                              .includes_usage = generation.includes_usage,
                              .tells_logprobs = tells,
                              .choices = generation.choices,
                              .prompts_are_texts = read.are_texts};
  Asked asked;
  for (TextPrompt& prompt : read.prompts) {
    for (std::size_t i = 0; i < generation.choices; ++i) asked.requests.push_back(choice_of(generation, prompt.ids, i));
    settings.echoed.push_back(echoes ? std::move(prompt.text) : std::string());
  }
  asked.answer = std::make_shared<TextAnswer>(std::move(exchange), std::move(settings), *model.tokenizer);
  return asked;
}

}  // namespace nibble::serve
