// SPDX-License-Identifier: Apache-2.0
#include "cli/text_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "cli/option_checks.h"
#include "model/chat/conversation_file.h"
#include "model/model_template.h"
#include "nibble/error.h"
#include "report/number_text.h"

namespace nibble::cli {

namespace {

NamedText render_file(const std::string& path, const ChatOptions& options, const SourceModel& model, Session& session) {
  const std::vector<std::string> conversations = render_conversations(path, options, model);
  const Tokenizer& tokenizer = model.tokenizer();
  NamedText text{path, {}};
  for (const std::string& conversation : conversations) text.text += conversation;
  // What reads a text puts a begin token in front of it, where the tokenizer does.
  const std::string begin = tokenizer.adds_bos() && tokenizer.bos() ? tokenizer.token_text(*tokenizer.bos()) : "";
  if (text.text.starts_with(begin)) text.text.erase(0, begin.size());
  session.note(fmt::format("{}: {} conversations by the model's template", path, grouped_text(conversations.size())));
  return text;
}

void note_special(const NamedText& text, bool parses, const Tokenizer& tokenizer, Session& session) {
  constexpr std::array<std::string_view, 4> kSigns = {"<|", "</s>", "[INST]", "<start_of_turn>"};
  const bool spells_some = std::ranges::any_of(
      kSigns, [&](std::string_view sign) { return text.text.find(sign) != std::string_view::npos; });
  if (!parses && !spells_some) return;
  const std::size_t count = tokenizer.count_special(text.text);
  if (parses)
    session.note(fmt::format("{}: {} special tokens", text.name, grouped_text(count)));
  else if (count > 0)
    session.note(
        fmt::format("{}: spells out {} special tokens, which are read as plain text; --special reads them as tokens",
                    text.name, grouped_text(count)));
}

}  // namespace

std::vector<std::string> render_conversations(const std::string& path, const ChatOptions& options,
                                              const SourceModel& model) {
  const nlohmann::ordered_json variables = template_variables(options);
  std::vector<Conversation> conversations = read_conversations(read_text(path), path);
  const bool has_tools =
      std::ranges::any_of(conversations, [](const Conversation& one) { return !one.tools.is_null(); });
  const ModelTemplate chat_template = ModelTemplate::open(model, options.template_choice, has_tools);
  std::vector<std::string> texts;
  for (Conversation& conversation : conversations) {
    for (const auto& [name, value] : variables.items()) conversation.variables[name] = value;
    try {
      texts.push_back(chat_template.render(std::move(conversation)));
    } catch (const Error& error) {
      throw Error(error.kind(), fmt::format("{}: conversation {}: {}", path, texts.size() + 1, error.what()));
    }
  }
  return texts;
}

std::vector<std::string> texts_beside(const std::string& model) {
  const std::filesystem::path beside = std::filesystem::path(model) / "heldout.txt";
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(beside, ignored)) return {};
  return {beside.string()};
}

void add_text_files(CLI::App& verb, const std::string& what, TextFiles& files) {
  verb.add_option("--text", files.plain, what + " ('-': standard input); may be given more than once");
  verb.add_option(
      "--chat", files.conversations,
      "The same as conversations, rendered by the model's chat template: JSON lines of \"messages\"; may be "
      "given more than once");
  add_template_options(verb, files.chat);
  verb.add_flag("--special", files.special,
                "Take the text of control tokens (<|im_start|>) for these tokens, as texts of rendered chats want it");
}

void judge_text_files(const CLI::App& verb, const TextFiles& files) {
  for (const char* const option : {"--template", "--template-option", "--no-think"})
    refuse_without_effect(verb, option, !files.conversations.empty(), "without conversations (--chat)");
}

void TextFiles::add_places(Places& places) const {
  places.reads("--text", plain);
  places.reads("--chat", conversations);
}

std::vector<NamedText> TextFiles::read(const SourceModel& model, Session& session) const {
  std::vector<NamedText> texts = session.read_named_texts(plain);
  for (const std::string& path : conversations) texts.push_back(render_file(path, chat, model, session));
  for (const NamedText& text : texts) note_special(text, parse_special(), model.tokenizer(), session);
  return texts;
}

}  // namespace nibble::cli
