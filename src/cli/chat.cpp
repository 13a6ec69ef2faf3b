// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "cli/chat/chat_loop.h"
#include "cli/chat/chat_options.h"
#include "cli/chat/loaded_chat.h"
#include "cli/interrupt.h"
#include "cli/option_checks.h"
#include "cli/sampling_options.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

// Caches grow as a conversation does, but some models' positions depend on how long it may become.
constexpr std::size_t kLongestByDefault = 32768;

struct Options {
  std::string model, prompt, load, history_file;
  ChatOptions chat;
  GenerateOptions generate = [] {
    GenerateOptions options;
    options.sampler.temperature = 0.7;
    options.max_tokens = 0;
    return options;
  }();
  bool hides_thoughts = false, no_history = false, verbose = false;
};

// A terminal that understands colours, of someone who wants them (no-color.org).
bool wants_colours() {
  const char* const refused = std::getenv("NO_COLOR");
  const char* const terminal = std::getenv("TERM");
  return (refused == nullptr || *refused == '\0') && terminal != nullptr && std::string_view(terminal) != "dumb";
}

void judge_options(const CLI::App& verb, const Options& options) {
  judge_sampling(verb, options.generate);
  if (verb.count("--history") != 0 && options.no_history)
    throw Error(ErrorKind::invalid_argument, "--history and --no-history contradict each other");
}

ChatFacts facts_of(const LoadedChat& loaded, const std::string& path) {
  const ModelConfig& config = loaded.model.config();
  ChatFacts facts;
  facts.model =
      fmt::format("{}: {}, {} in memory", path, config.architecture, bytes_text(loaded.decoder.resident_bytes()));
  facts.lines = {facts.model, fmt::format("context of the model: {} tokens", grouped_text(config.context)),
                 "tokenizer: " + loaded.model.tokenizer().kind(),
                 fmt::format("loaded in {:.2f} s", loaded.load_seconds)};
  return facts;
}

void chat(const CLI::App& verb, Options& options, Session& session) {
  judge_options(verb, options);
  Conversation begun = begin_conversation(options.chat);
  const bool on_terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 && !session.json();
  const bool once = !options.prompt.empty() || !on_terminal;
  std::string message = options.prompt;
  for (const char* const option : {"--history", "--no-history", "--verbose", "--hide-thinking"})
    refuse_without_effect(verb, option, !once, "without a terminal, or beside --prompt");
  refuse_without_effect(verb, "--force-text", once && message.empty(), "without a message on standard input");
  if (!options.load.empty() && once) begun = load_conversation(options.load);
  if (once && message.empty() && isatty(STDIN_FILENO) == 1)
    session.note("reads the message from the keyboard; Ctrl-D on a line of its own ends it");
  if (once && message.empty()) message = session.read_corpus("-");
  LoadedChat loaded(options.model, options.chat, session);
  const std::size_t context = options.generate.context > 0
                                  ? options.generate.context
                                  : std::min<std::size_t>(loaded.model.config().context, kLongestByDefault);
  if (options.generate.max_tokens == 0) options.generate.max_tokens = context;
  if (once) {
    options.generate.context = context;
    while (message.ends_with('\n')) message.pop_back();
    begun.messages.push_back({{"role", "user"}, {"content", message}});
    return answer_once(loaded, {std::move(begun), options.generate, true}, session);
  }
  expect_interrupts();
  ChatSession talk = loaded.talk(context);
  options.generate.max_tokens = std::min(options.generate.max_tokens, context);
  InputHistory history(options.no_history             ? std::filesystem::path()
                       : options.history_file.empty() ? default_history_file("chat_history")
                                                      : std::filesystem::path(options.history_file));
  ChatLoop loop(talk, loaded.chat_template, std::move(begun), options.generate,
                {wants_colours(), !options.hides_thoughts, options.verbose}, facts_of(loaded, options.model), history,
                session);
  if (!options.load.empty()) loop.load(options.load);
  loop.run();
}

}  // namespace

void add_chat(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand("chat", "Talk to a model");
  verb->footer(
      "Examples:\n  nibble chat small.gguf\n  nibble chat small.gguf --system \"Answer in one sentence.\"\n"
      "  echo \"Why is the sky blue?\" | nibble chat small.gguf > answer.txt\n\n"
      "In a chat, /? lists what there is besides messages.");
  verb->add_option("model", options->model, "Hugging Face directory or .gguf of a model with a chat template")
      ->required();
  verb->add_option("-p,--prompt", options->prompt, "Print the answer to this message and leave");
  add_chat_options(*verb, options->chat);
  verb->add_option("--load", options->load, "Go on with a conversation that /save wrote");
  verb->add_option("-n,--tokens", options->generate.max_tokens,
                   "At most this many tokens in an answer (0: as many as the context holds)")
      ->check(count_within(0, std::uint64_t{1} << 31))
      ->capture_default_str();
  add_sampling(*verb, options->generate);
  verb->add_option("--context", options->generate.context,
                   "Room for the conversation in tokens (default: the model's own, at most 32768)")
      ->check(count_within(1, std::uint64_t{1} << 31));
  verb->add_flag("--hide-thinking", options->hides_thoughts, "Do not show what the model thinks before it answers");
  verb->add_flag("--verbose", options->verbose, "Tell the speed of every answer");
  verb->add_option("--history", options->history_file,
                   "File of earlier messages (default: nibble/chat_history in $XDG_STATE_HOME or ~/.local/state)");
  verb->add_flag("--no-history", options->no_history, "Keep messages in memory only");
  session.add_force_text(*verb);
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([options, verb, &session] { chat(*verb, *options, session); });
}

}  // namespace nibble::cli
