// SPDX-License-Identifier: Apache-2.0
#include "cli/chat/chat_loop.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "base/output_file.h"
#include "cli/chat/chat_command.h"
#include "cli/chat/chat_options.h"
#include "cli/interrupt.h"
#include "cli/sampling_options.h"
#include "model/chat/conversation_file.h"
#include "nibble/error.h"
#include "report/number_text.h"
#include "terminal/line_editor.h"
#include "terminal/text_layout.h"

namespace nibble::cli {

namespace {

// What an answer has room for at least, before something is left out to make it.
constexpr std::size_t kLeastRoom = 256;

std::string role_of(const nlohmann::ordered_json& message) { return message.value("role", std::string()); }

std::string content_of(const nlohmann::ordered_json& message) {
  const auto content = message.find("content");
  return content == message.end() ? "" : content->is_string() ? content->get<std::string>() : json_text(*content);
}

}  // namespace

ChatLoop::ChatLoop(ChatSession& chat, const ModelTemplate& chat_template, Conversation begun, GenerateOptions options,
                   ChatLook look, ChatFacts facts, InputHistory& history, Session& session)
    : chat_(chat),
      template_(chat_template),
      begun_(std::move(begun)),
      conversation_(begun_),
      kept_(begun_.messages.size()),
      options_(std::move(options)),
      look_(look),
      facts_(std::move(facts)),
      history_(history),
      session_(session) {}

std::string ChatLoop::dim(std::string_view text) const {
  return look_.colours ? fmt::format("\x1b[2m{}\x1b[0m", text) : std::string(text);
}

void ChatLoop::tell(std::string_view text) { session_.print(dim(shown_text(text)) + "\n"); }

void ChatLoop::greet() {
  tell(fmt::format("{}; context {} tokens; /? for help", facts_.model, grouped_text(chat_.context())));
}

void ChatLoop::run() {
  greet();
  LineEditor editor(STDIN_FILENO, STDOUT_FILENO, history_);
  EditorOptions options;
  options.prompt = look_.colours ? "\x1b[1m>>> \x1b[0m" : ">>> ";
  options.continuation = "... ";
  options.hint = look_.colours ? "Send a message (/? for help)" : "";
  options.wants_more = is_open_message;
  options.completions = complete_chat_command;
  options.should_stop = interrupted;
  bool left_once = false;
  while (true) {
    options.initial = std::exchange(pending_, {});
    take_interrupt();  // one that came when nothing was left to stop
    const WrittenText written = editor.read(options);
    if (written.end == WrittenText::End::stopped) {
      if (!take_interrupt()) throw Error(ErrorKind::cancelled, "interrupted");
      pending_ = written.text;
      continue;
    }
    if (written.end == WrittenText::End::closed) return;
    if (written.end == WrittenText::End::interrupted) {
      if (written.text.empty() && std::exchange(left_once, true)) return;
      if (written.text.empty()) tell("Ctrl-C again or Ctrl-D leaves");
      continue;
    }
    left_once = false;
    const std::string line = message_text(written.text);
    if (line.empty()) continue;
    history_.add(written.text);
    try {
      if (!act(line)) return;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::cancelled && !take_interrupt()) throw;  // a signal that ends programs
      end_part();
      tell(error.kind() == ErrorKind::cancelled ? "stopped" : error.what());
    } catch (const std::bad_alloc&) {
      end_part();
      tell("not enough memory for this; the conversation is as it was before");
    } catch (const std::exception& error) {
      end_part();
      tell(error.what());
    }
  }
}

bool ChatLoop::act(const std::string& line) {
  if (!is_chat_command(line)) return say(line), true;
  const ChatCommand command = parse_chat_command(line);
  const auto needs = [&](const char* what) {
    if (command.argument.empty())
      throw Error(ErrorKind::invalid_argument, fmt::format("{} needs {}", command.name, what));
  };
  switch (command.action) {
    case ChatAction::leave:
      return false;
    case ChatAction::help:
      session_.print(command.argument == "shortcuts" ? shortcut_help() : chat_help());
      break;
    case ChatAction::clear:
      conversation_ = begun_;
      kept_ = begun_.messages.size();
      left_out_ = 0;
      tell("a new conversation");
      break;
    case ChatAction::regenerate:
      attempt([&] {
        const std::string message = take_last_message();
        if (message.empty()) throw Error(ErrorKind::invalid_argument, "there is no message to answer yet");
        ++options_.sampler.seed;
        say(message);
      });
      break;
    case ChatAction::undo:
      tell(take_last_message().empty() ? "there is no message to take back" : "the last message is taken back");
      break;
    case ChatAction::edit:
      pending_ = take_last_message();
      if (pending_.find('\n') != std::string::npos) pending_ = "\"\"\"" + pending_ + "\"\"\"";
      break;
    case ChatAction::read:
      needs("a file");
      say(session_.read_corpus(command.argument));
      break;
    case ChatAction::save:
      needs("a file");
      save(command.argument);
      break;
    case ChatAction::load:
      needs("a file");
      load(command.argument);
      tell(fmt::format("{} messages", conversation_.messages.size()));
      break;
    case ChatAction::set:
      obey_set(command.argument);
      break;
    case ChatAction::show:
      show(command.argument);
      break;
    case ChatAction::stats:
      show_stats();
      break;
    case ChatAction::unknown:
      tell(fmt::format("there is no command {}; /? lists them", command.name));
      break;
  }
  return true;
}

void ChatLoop::obey_set(const std::string& argument) {
  auto [name, value] = cut_word(argument);
  if (name == "parameter") std::tie(name, value) = cut_word(value);
  auto& messages = conversation_.messages;
  if (name == "system") {
    const auto had = static_cast<std::ptrdiff_t>(first_message());
    const std::ptrdiff_t shift = (value.empty() ? 0 : 1) - had;
    for (std::size_t* const place : {&left_out_, &kept_})
      if (*place > 0 || place == &kept_)
        *place = static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(*place) + shift));
    if (had > 0) messages.erase(0);
    if (!value.empty())
      messages.insert(messages.begin(), nlohmann::ordered_json{{"role", "system"}, {"content", message_text(value)}});
    tell(value.empty() ? "no system message" : "the system message is set");
  } else if (name == "think" || name == "nothink") {
    ChatOptions template_options;
    template_options.no_think = name == "nothink";
    for (const char* const variable : {"enable_thinking", "thinking", "reasoning_effort"})
      conversation_.variables.erase(variable);
    const auto variables = template_variables(template_options);
    for (const auto& [key, variable] : variables.items()) conversation_.variables[key] = variable;
    if (name == "think") conversation_.variables["enable_thinking"] = true;
    tell(template_.reasoning() ? name == "think" ? "thinks before it answers" : "answers at once"
                               : "this model's template knows of no thoughts; nothing changes");
  } else if (name == "verbose" || name == "quiet") {
    look_.verbose = name == "verbose";
  } else {
    set_parameter(name, value);
  }
}

void ChatLoop::set_parameter(const std::string& name, const std::string& value) {
  GenerateOptions changed = options_;
  const auto number = [&] {
    try {
      std::size_t end = 0;
      const double parsed = std::stod(value, &end);
      if (end == value.size()) return parsed;
    } catch (const std::exception&) {
    }
    throw Error(ErrorKind::invalid_argument, fmt::format("/set {} needs a number: '{}'", name, value));
  };
  const auto count = [&] {
    const double parsed = number();
    if (!(parsed >= 0 && parsed < 1e15))
      throw Error(ErrorKind::invalid_argument, fmt::format("/set {} needs a number from 0 on: {}", name, value));
    return static_cast<std::size_t>(parsed);
  };
  SamplerOptions& sampler = changed.sampler;
  if (name == "temperature")
    sampler.temperature = number();
  else if (name == "top_k")
    sampler.top_k = count();
  else if (name == "top_p")
    sampler.top_p = number();
  else if (name == "min_p")
    sampler.min_p = number();
  else if (name == "repetition_penalty" || name == "repeat_penalty")
    sampler.repetition_penalty = number();
  else if (name == "seed")
    sampler.seed = count();
  else if (name == "tokens" || name == "num_predict")
    changed.max_tokens = count() == 0 ? chat_.context() : std::min(count(), chat_.context());
  else if (name == "stop")
    changed.stop = value.empty() ? std::vector<std::string>() : std::vector<std::string>{value};
  else
    throw Error(
        ErrorKind::invalid_argument,
        fmt::format("there is no setting '{}'; there are system, think, nothink, verbose, quiet, temperature, top_k, "
                    "top_p, min_p, repetition_penalty, seed, tokens and stop",
                    name));
  Sampler judged(sampler);
  options_ = std::move(changed);
}

void ChatLoop::show(const std::string& what) {
  std::string text;
  const SamplerOptions& sampler = options_.sampler;
  if (what == "info" || what.empty()) {
    for (const std::string& line : facts_.lines) text += line + "\n";
  } else if (what == "system") {
    for (const auto& message : conversation_.messages)
      if (role_of(message) == "system") text += content_of(message) + "\n";
    if (text.empty()) text = "no system message\n";
  } else if (what == "parameters") {
    text = fmt::format("temperature {}\ntop_k {}\ntop_p {}\nmin_p {}\nrepetition_penalty {}\nseed {}\ntokens {}\n",
                       sampler.temperature, sampler.top_k, sampler.top_p, sampler.min_p, sampler.repetition_penalty,
                       sampler.seed, options_.max_tokens);
    for (const std::string& stop : options_.stop) text += "stop " + stop + "\n";
  } else if (what == "template") {
    text = template_.text() + "\n";
  } else if (what == "messages") {
    for (const auto& message : conversation_.messages)
      text += fmt::format("[{}] {}\n", role_of(message), content_of(message));
  } else {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("/show has info, system, parameters, template and messages, not '{}'", what));
  }
  session_.print(shown_text(text));
}

void ChatLoop::show_stats() {
  const auto line = [](const char* what, std::size_t tokens, std::size_t timed, double seconds) {
    const double rate = token_rate(timed, seconds);
    return fmt::format("  {:<10} {} tokens{}\n", what, grouped_text(tokens),
                       rate > 0 ? fmt::format(", {} a second", speed_text(rate)) : "");
  };
  std::string text;
  if (totals_.answers > 0) {
    const std::size_t read = last_.prompt_tokens - last_.kept_tokens;
    text += "last answer\n" + line("read", read, read, last_.prompt_seconds) + line("kept", last_.kept_tokens, 0, 0) +
            line("written", last_.new_tokens, last_.decode_tokens, last_.decode_seconds) +
            fmt::format("  {:<10} {:.2f} s, ended by {}\n", "first after", last_.prompt_seconds,
                        stop_reason_name(last_.reason));
    text += fmt::format("all {} answers\n", totals_.answers) +
            line("read", totals_.read, totals_.read, totals_.read_seconds) + line("kept", totals_.kept, 0, 0) +
            line("written", totals_.made, totals_.decoded, totals_.decode_seconds);
  }
  text += fmt::format("context      {} of {} tokens, {} of keys and values\n", grouped_text(chat_.held_tokens()),
                      grouped_text(chat_.context()), bytes_text(chat_.cache_bytes()));
  session_.print(text);
}

void ChatLoop::save(const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error) && !std::filesystem::is_regular_file(path, error))
    throw Error(ErrorKind::io, path + ": is no plain file; choose another one");
  if (std::filesystem::exists(path, error) && std::filesystem::file_size(path, error) > 0) {
    try {
      read_conversations(read_text(path), path);
    } catch (const Error&) {
      throw Error(ErrorKind::io, path + ": exists and holds no conversation; choose another file or remove it");
    }
  }
  nlohmann::ordered_json json = {{"messages", conversation_.messages}};
  if (!conversation_.tools.is_null()) json["tools"] = conversation_.tools;
  if (!conversation_.documents.is_null()) json["documents"] = conversation_.documents;
  if (!conversation_.variables.empty()) json["chat_template_kwargs"] = conversation_.variables;
  require_directory_of(path);
  OutputFile file(path);
  file.write(json_text(json));
  file.commit();
  tell(fmt::format("{} messages in {}", conversation_.messages.size(), path));
}

void ChatLoop::load(const std::string& path) {
  conversation_ = load_conversation(path);
  kept_ = first_message();
  left_out_ = 0;
}

// A message that nothing was answered to is not part of the conversation. It can be recalled.
void ChatLoop::say(const std::string& message) {
  attempt([&] {
    conversation_.messages.push_back({{"role", "user"}, {"content", message}});
    answer();
  });
}

std::string ChatLoop::take_last_message() {
  auto& messages = conversation_.messages;
  for (std::size_t i = messages.size(); i-- > kept_;) {
    if (role_of(messages[i]) != "user") continue;
    const std::string text = content_of(messages[i]);
    messages.erase(messages.begin() + static_cast<std::ptrdiff_t>(i), messages.end());
    left_out_ = std::min(left_out_, messages.size());
    return text;
  }
  return {};
}

bool ChatLoop::agrees(const std::string& question) {
  LineEditor editor(STDIN_FILENO, STDOUT_FILENO, history_);
  EditorOptions options;
  options.prompt = question + " [Y/n] ";
  options.should_stop = interrupted;
  const WrittenText written = editor.read(options);
  take_interrupt();
  return written.end == WrittenText::End::entered &&
         (written.text.empty() || written.text[0] == 'y' || written.text[0] == 'Y');
}

void ChatLoop::attempt(const std::function<void()>& act) {
  const Conversation before = conversation_;
  const std::size_t left_out = left_out_;
  try {
    act();
  } catch (...) {
    conversation_ = before;
    left_out_ = left_out;
    throw;
  }
}

std::size_t ChatLoop::first_message() const {
  const auto& messages = conversation_.messages;
  return !messages.empty() && role_of(messages[0]) == "system" ? 1 : 0;
}

ChatPrompt ChatLoop::read_from(std::size_t begin) const {
  Conversation read = conversation_;
  const std::size_t first = first_message();
  begin = std::max(first, std::min(begin, read.messages.size()));
  read.messages.erase(read.messages.begin() + static_cast<std::ptrdiff_t>(first),
                      read.messages.begin() + static_cast<std::ptrdiff_t>(begin));
  return chat_.prompt(std::move(read));
}

std::optional<ChatPrompt> ChatLoop::make_room() {
  const std::size_t room = std::min({kLeastRoom, options_.max_tokens, chat_.context() / 4});
  const auto& messages = conversation_.messages;
  const std::size_t first = first_message();
  std::size_t begin = std::max(first, left_out_);
  ChatPrompt prompt = read_from(begin);
  const std::size_t tokens = prompt.ids.size();
  if (tokens + room <= chat_.context()) return prompt;
  std::size_t needed = tokens;
  while (needed + room > chat_.context() && begin + 1 < messages.size()) {
    ++begin;
    while (begin + 1 < messages.size() && role_of(messages[begin]) != "user") ++begin;
    prompt = read_from(begin);
    needed = prompt.ids.size();
  }
  if (needed + room > chat_.context())
    throw Error(
        ErrorKind::unusable_input,
        fmt::format(
            "the message is {} tokens with what belongs to it, which leaves less than {} of the context's {} for "
            "an answer; shorten it, or leave and give more room with --context",
            grouped_text(needed), grouped_text(room), grouped_text(chat_.context())));
  tell(
      fmt::format("the conversation is {} tokens, and the context is {}: to answer, the oldest {} messages have to be "
                  "left out of what the model reads ({} tokens; /save still has them)",
                  grouped_text(tokens), grouped_text(chat_.context()), begin - std::max(first, left_out_),
                  grouped_text(tokens - needed)));
  if (!agrees("leave them out?")) return std::nullopt;
  left_out_ = begin;
  return prompt;
}

void ChatLoop::answer() {
  const std::optional<ChatPrompt> prompt = make_room();
  if (!prompt) throw Error(ErrorKind::invalid_argument, "nothing was sent; /clear begins a new conversation");
  options_.progress = [bar = session_.progress()](const Progress& progress) {
    return progress.stage != "read" || bar(progress);  // answers stop between two tokens and are kept
  };
  last_ = chat_.answer(*prompt, options_, [&](bool is_reasoning, std::string_view text) {
    if (!text.empty()) show_part(is_reasoning, text);
    return !interrupted();
  });
  end_part();
  const bool was_stopped = last_.reason == StopReason::caller;
  if (was_stopped && !take_interrupt()) throw Error(ErrorKind::cancelled, "interrupted");
  conversation_.messages.push_back(message_of(last_));
  ++totals_.answers;
  totals_.read += last_.prompt_tokens - last_.kept_tokens;
  totals_.kept += last_.kept_tokens;
  totals_.made += last_.new_tokens;
  totals_.decoded += last_.decode_tokens;
  totals_.read_seconds += last_.prompt_seconds;
  totals_.decode_seconds += last_.decode_seconds;
  if (was_stopped) tell("stopped; what was said so far is part of the conversation");
  if (last_.reason == StopReason::context_full) tell("the context is full: the answer ends here; /clear begins anew");
  if (last_.reason == StopReason::max_tokens)
    tell(fmt::format("ends after {} tokens (/set tokens N)", grouped_text(last_.new_tokens)));
  if (look_.verbose) show_stats();
}

void ChatLoop::show_part(bool is_reasoning, std::string_view text) {
  const Shown kind = is_reasoning ? Shown::reasoning : Shown::answer;
  if (is_reasoning && !look_.shows_thoughts) {
    if (shown_ == Shown::nothing) tell("thinking ...");
    shown_ = Shown::reasoning;
    return;
  }
  std::string out;
  if (shown_ != kind) {
    end_part();
    if (is_reasoning) out += look_.colours ? "\x1b[2;3m" : "[thinking]\n";
    wrap_ = WordWrap(0);
  }
  shown_ = kind;
  wrap_.set_columns(terminal_size(STDOUT_FILENO).columns);  // which may change while an answer comes
  session_.print(out + wrap_.push(shown_text(text)));
}

void ChatLoop::end_part() {
  if (shown_ == Shown::answer || (shown_ == Shown::reasoning && look_.shows_thoughts)) session_.print(wrap_.finish());
  if (shown_ == Shown::answer) session_.print("\n\n");
  if (shown_ == Shown::reasoning && look_.shows_thoughts)
    session_.print(look_.colours ? "\x1b[0m\n\n" : "\n[/thinking]\n\n");
  shown_ = Shown::nothing;
}

}  // namespace nibble::cli
