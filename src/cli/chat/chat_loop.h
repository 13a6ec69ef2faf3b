// SPDX-License-Identifier: Apache-2.0
//
// A conversation on a terminal: reads messages and commands, shows answers as they come, keeps what was said.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "cli/session.h"
#include "engine/chat_session.h"
#include "terminal/input_history.h"
#include "terminal/word_wrap.h"

namespace nibble::cli {

struct ChatLook {
  bool colours = true;
  bool shows_thoughts = true;
  bool verbose = false;  // speed after every answer
};

// What /show info tells, a line each.
struct ChatFacts {
  std::string model;
  std::vector<std::string> lines;
};

class ChatLoop {
 public:
  // All must outlive this. begun: what the conversation begins with, also after /clear.
  ChatLoop(ChatSession& chat, const ModelTemplate& chat_template, Conversation begun, GenerateOptions options,
           ChatLook look, ChatFacts facts, InputHistory& history, Session& session);

  // Until the user leaves. Errors of single messages are shown and survived.
  void run();
  // Goes on with a conversation that was saved. Errors as read_conversations'.
  void load(const std::string& path);

 private:
  void greet();
  bool act(const std::string& line);  // false: leave
  void obey_set(const std::string& argument);
  void set_parameter(const std::string& name, const std::string& value);
  void show(const std::string& what);
  void show_stats();
  void save(const std::string& path);
  void say(const std::string& message);
  void edit_last();
  void answer();
  // The conversation as the model reads it, when its messages from `begin` on are: a system message stays.
  ChatPrompt read_from(std::size_t begin) const;
  std::size_t first_message() const;  // behind a system message
  // What the model reads; none: it is too long, and the user wants nothing left out.
  std::optional<ChatPrompt> make_room();
  std::string take_last_message();  // with all that came after it; empty: there is none
  // Does it as a whole, or leaves the conversation as it was.
  void attempt(const std::function<void()>& act);
  bool agrees(const std::string& question);
  void show_part(bool is_reasoning, std::string_view text);
  void end_part();
  void tell(std::string_view text);  // a line of the program's own
  std::string dim(std::string_view text) const;

  ChatSession& chat_;
  const ModelTemplate& template_;
  const Conversation begun_;
  Conversation conversation_;
  std::size_t kept_ = 0;      // first messages that cannot be taken back
  std::size_t left_out_ = 0;  // oldest messages that the model does not read any more
  GenerateOptions options_;
  ChatLook look_;
  ChatFacts facts_;
  InputHistory& history_;
  Session& session_;
  std::string pending_;  // what stands in the next line to begin with

  enum class Shown { nothing, reasoning, answer };
  Shown shown_ = Shown::nothing;
  WordWrap wrap_{0};  // of the part that is being shown
  struct Totals {
    std::size_t answers = 0, read = 0, kept = 0, made = 0, decoded = 0;
    double read_seconds = 0, decode_seconds = 0;
  };
  Totals totals_;
  ChatAnswer last_;
};

}  // namespace nibble::cli
