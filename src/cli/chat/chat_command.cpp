// SPDX-License-Identifier: Apache-2.0
#include "cli/chat/chat_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

namespace nibble::cli {

namespace {

struct KnownCommand {
  ChatAction action;
  std::array<std::string_view, 4> names;  // the first one is shown
  std::string_view argument, help;
  bool takes_file = false;
};

constexpr auto kCommands = std::to_array<KnownCommand>({
    {ChatAction::help, {"/?", "/help", "", ""}, "", "this list; '/? shortcuts' has the keys"},
    {ChatAction::clear, {"/clear", "/new", "/reset", ""}, "", "begin a new conversation"},
    {ChatAction::regenerate, {"/regen", "/retry", "", ""}, "", "another answer to the last message"},
    {ChatAction::undo, {"/undo", "", "", ""}, "", "take the last message and its answer back"},
    {ChatAction::edit, {"/edit", "", "", ""}, "", "write the last message anew"},
    {ChatAction::read, {"/read", "", "", ""}, "FILE", "send the text of a file", true},
    {ChatAction::save, {"/save", "", "", ""}, "FILE", "write the conversation to a JSON file", true},
    {ChatAction::load, {"/load", "", "", ""}, "FILE", "go on with a conversation that was saved", true},
    {ChatAction::set, {"/set", "", "", ""}, "NAME VALUE", "system, think, nothink, verbose, quiet or a parameter"},
    {ChatAction::show,
     {"/show", "", "", ""},
     "WHAT",
     "info, system, parameters (what /set knows), template or messages"},
    {ChatAction::stats, {"/stats", "", "", ""}, "", "how fast it was, what is in the context"},
    {ChatAction::leave, {"/bye", "/exit", "/quit", "/q"}, "", "leave (or Ctrl-D)"},
});

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string in_small_letters(std::string_view text) {
  std::string small(text);
  for (char& c : small)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return small;
}

const KnownCommand* find_command(std::string_view name) {
  const auto* const found = std::ranges::find_if(
      kCommands, [&](const KnownCommand& one) { return std::ranges::find(one.names, name) != one.names.end(); });
  return found == kCommands.end() || name.empty() ? nullptr : found;
}

void complete_file(std::string_view before, std::string_view begun, std::vector<std::string>& found) {
  namespace fs = std::filesystem;
  const fs::path path(begun);
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(path.filename().string()) || found.size() == 200) continue;
    const fs::path whole = path.has_parent_path() ? path.parent_path() / name : fs::path(name);
    std::error_code ignored;
    found.push_back(std::string(before) + whole.string() + (entry->is_directory(ignored) ? "/" : ""));
  }
  std::ranges::sort(found);
}

}  // namespace

// A path or a fraction is a message: a command is a word of letters.
bool is_chat_command(std::string_view line) {
  if (!line.starts_with('/') || line.find('\n') != std::string_view::npos) return false;
  const std::string name = in_small_letters(cut_word(line).first);
  return find_command(name) != nullptr ||
         (name.size() > 1 && std::all_of(name.begin() + 1, name.end(), [](char c) { return c >= 'a' && c <= 'z'; }));
}

std::pair<std::string, std::string> cut_word(std::string_view text) {
  text = trimmed(text);
  const auto* const end = std::ranges::find_if(text, is_blank);
  const auto size = static_cast<std::size_t>(end - text.begin());
  return {std::string(text.substr(0, size)), std::string(trimmed(text.substr(size)))};
}

ChatCommand parse_chat_command(std::string_view line) {
  ChatCommand command;
  std::tie(command.name, command.argument) = cut_word(line);
  if (const KnownCommand* const known = find_command(in_small_letters(command.name))) command.action = known->action;
  return command;
}

std::string chat_help() {
  std::string text;
  for (const KnownCommand& one : kCommands) {
    std::string names;
    for (const std::string_view name : one.names)
      if (!name.empty()) names += (names.empty() ? "" : ", ") + std::string(name);
    if (!one.argument.empty()) names += " " + std::string(one.argument);
    text += fmt::format("  {:<24} {}\n", names, one.help);
  }
  return text + "  \"\"\"                      begins and ends a message of several lines\n";
}

std::string shortcut_help() {
  return "  Enter  send                       Alt-Enter, Ctrl-J  a further line\n"
         "  Up, Down  earlier messages        Ctrl-R  search in them\n"
         "  Ctrl-A, Ctrl-E  begin, end        Alt-B, Alt-F  by words\n"
         "  Ctrl-W  delete a word             Ctrl-U, Ctrl-K  to the begin, to the end\n"
         "  Ctrl-Y  put it back               Ctrl-L  clear the screen\n"
         "  Ctrl-G  write in $EDITOR          Tab  complete commands and files\n"
         "  Ctrl-C  stop the answer           Ctrl-D  leave\n";
}

std::vector<std::string> complete_chat_command(std::string_view line) {
  std::vector<std::string> found;
  if (!line.starts_with('/')) return found;
  const std::size_t blank = line.find(' ');
  if (blank != std::string_view::npos) {
    const KnownCommand* const known = find_command(line.substr(0, blank));
    if (known != nullptr && known->takes_file) complete_file(line.substr(0, blank + 1), line.substr(blank + 1), found);
    return found;
  }
  for (const KnownCommand& one : kCommands)
    for (const std::string_view name : one.names)
      if (!name.empty() && name.starts_with(line))
        found.push_back(std::string(name) + (one.argument.empty() ? "" : " "));
  return found;
}

bool is_open_message(std::string_view text) {
  text = trimmed(text);
  return text.starts_with("\"\"\"") && (text.size() < 6 || !text.ends_with("\"\"\""));
}

std::string message_text(std::string_view text) {
  text = trimmed(text);
  if (text.size() >= 6 && text.starts_with("\"\"\"") && text.ends_with("\"\"\""))
    text = trimmed(text.substr(3, text.size() - 6));
  return std::string(text);
}

}  // namespace nibble::cli
