// SPDX-License-Identifier: Apache-2.0
//
// The commands of a chat: lines that begin with a slash, under the names that other programs have made known.
// Nothing but completion looks beyond its arguments. Safe from any thread.
//
//   const ChatCommand command = parse_chat_command("/set temperature 0.8");
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::cli {

enum class ChatAction { help, leave, clear, regenerate, undo, edit, read, save, load, set, show, stats, unknown };

struct ChatCommand {
  ChatAction action = ChatAction::unknown;
  std::string name;      // as it was written
  std::string argument;  // the rest of the line, without white space around it
};

bool is_chat_command(std::string_view line);
ChatCommand parse_chat_command(std::string_view line);

// The first word of a text, and what is behind it.
std::pair<std::string, std::string> cut_word(std::string_view text);

// A line each: what there is and what it does.
std::string chat_help();
std::string shortcut_help();

// What a line that begins so could be: commands, and files behind those that take one.
std::vector<std::string> complete_chat_command(std::string_view line);

// A message between """ and """ may have several lines. True where the second is missing yet.
bool is_open_message(std::string_view text);
// The message without such quotes.
std::string message_text(std::string_view text);

}  // namespace nibble::cli
