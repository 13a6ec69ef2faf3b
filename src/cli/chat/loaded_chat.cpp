// SPDX-License-Identifier: Apache-2.0
#include "cli/chat/loaded_chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/elapsed.h"
#include "cli/interrupt.h"
#include "cli/option_checks.h"
#include "cli/sampling_options.h"
#include "nibble/error.h"
#include "report/number_text.h"
#include "terminal/text_layout.h"

namespace nibble::cli {

namespace {

Json json_of(const ChatAnswer& answer, const std::string& prompt, double load_seconds) {
  return {{"prompt", prompt},
          {"text", answer.text},
          {"reasoning", answer.reasoning},
          {"stop", stop_reason_name(answer.reason)},
          {"prompt_tokens", answer.prompt_tokens},
          {"generated_tokens", answer.new_tokens},
          {"load_seconds", load_seconds},
          {"first_token_seconds", load_seconds + answer.prompt_seconds},
          {"prefill_tokens_per_second", token_rate(answer.prompt_tokens, answer.prompt_seconds)},
          {"decode_tokens_per_second", token_rate(answer.decode_tokens, answer.decode_seconds)}};
}

}  // namespace

LoadedChat::LoadedChat(const std::string& path, const ChatOptions& options, Session& session)
    : model(SourceModel::open(path)),
      chat_template(ModelTemplate::open(model, options.template_choice, !options.tools_file.empty())),
      decoder([&] {
        const auto start = std::chrono::steady_clock::now();
        Decoder made(model, {session.running_kernels(), session.kv(), session.progress()}, session.machine());
        load_seconds = seconds_since(start);
        return made;
      }()) {
  session.note_reading(model);
  session.note_unused_activations(path, model);
}

ChatSession LoadedChat::talk(std::size_t context) {
  refuse_longer_than_context(context, model.config().context, "--context");
  return ChatSession(decoder, model.tokenizer(), chat_template, context);
}

void answer_once(LoadedChat& loaded, const OneAnswer& asked, Session& session) {
  const ChatPrompt prompt = make_prompt(loaded.chat_template, loaded.model.tokenizer(), asked.conversation);
  const std::size_t most = loaded.model.config().context;
  const std::size_t context =
      asked.generate.context > 0 ? asked.generate.context
      : asked.generate.max_tokens >= most
          ? most
          : std::min(most, prompt.ids.size() + std::max<std::size_t>(1, asked.generate.max_tokens));
  const bool on_terminal = isatty(STDOUT_FILENO) == 1;
  ChatSession chat = loaded.talk(std::max<std::size_t>(context, 1));
  GenerateOptions options = asked.generate;
  options.max_tokens = std::min(options.max_tokens, context);
  options.progress = [bar = session.progress()](const Progress& progress) {
    return progress.stage != "read" || bar(progress);
  };
  const ChatAnswer answer = chat.answer(prompt, options, [&](bool is_reasoning, std::string_view text) {
    if (!is_reasoning && !session.json()) session.print(on_terminal ? shown_text(text) : std::string(text));
    return !interrupted();
  });
  const bool stopped = answer.reason == StopReason::caller;
  if (stopped) session.set_exit_code(130);
  if (session.json()) return session.print_json(json_of(answer, prompt.text, loaded.load_seconds));
  session.print("\n");
  const auto pace = [](double rate) { return rate > 0 ? fmt::format(" at {} tok/s", speed_text(rate)) : ""; };
  if (!asked.quiet)
    session.note(fmt::format("loaded in {:.2f} s; {} prompt tokens{}, {} new ones{} ({})", loaded.load_seconds,
                             answer.prompt_tokens, pace(token_rate(answer.prompt_tokens, answer.prompt_seconds)),
                             answer.new_tokens, pace(token_rate(answer.decode_tokens, answer.decode_seconds)),
                             stop_reason_name(answer.reason)));
  if (asked.quiet && (answer.reason == StopReason::max_tokens || answer.reason == StopReason::context_full))
    session.note(fmt::format("note: the answer was cut after {} tokens{}; --tokens and --context give more room",
                             answer.new_tokens, answer.text.empty() ? ", all of them thoughts" : ""));
  if (stopped) throw Error(ErrorKind::cancelled, "interrupted");
}

}  // namespace nibble::cli
