// SPDX-License-Identifier: Apache-2.0
//
// How a model writes that tools are to be called: the forms that templates know, and a text of such a form taken apart.
// Immutable data, safe from many threads; a stream is of one thread.
//
//   const ToolCallForm& form = tool_call_form(template_text);
//   ToolCallStream stream(form, {"get_weather"});
//   for (const ToolCallPart& part : stream.push(text)) ...
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/chat/chat_template.h"

namespace nibble {

// Calls are `begin` call (`between` call)* `end`, a call is `head` NAME `middle` ARGUMENTS `tail`; arguments are a JSON
// object.
struct ToolCallForm {
  std::string_view name;
  std::string begin, head, middle, tail, between, end;
  std::string opening;      // by which a text tells that calls follow
  bool opens_text = false;  // it does so only as the first of a text
  bool is_alone = false;    // there is one call
  // What of these the model may have as tokens of their own.
  std::vector<std::string> marks = {};
  bool is_told_by_template = true;  // false: tell_tools_as_text() tells the model
};

// "hermes" (<tool_call>{"name", "arguments"}</tool_call>), "llama3" ({"name", "parameters"}), "mistral" ([TOOL_CALLS]
// and a list), "mistral_args" ([TOOL_CALLS]name[ARGS]arguments); "plain" where the template knows none of them.
ToolCallForm tool_call_form(std::string_view template_text);

// Tools, where there are some, earlier calls and what came of them as texts of system, assistant and user, for
// templates that know nothing of tools: calls as in "hermes".
void tell_tools_as_text(Conversation& conversation);

struct ToolCallPart {
  enum class Kind { text, name, arguments };
  Kind kind = Kind::text;
  std::string text;  // of a name: all of it, and a call begins; of others what has come
  bool operator==(const ToolCallPart&) const = default;
};

// White space around calls belongs to neither text nor calls; behind the first call there is no text. What opens like
// a call and goes on as none of these tools is text. A name that is cut is not given.
class ToolCallStream {
 public:
  // names: of the tools that there are.
  ToolCallStream(ToolCallForm form, std::vector<std::string> names)
      : form_(std::move(form)), names_(std::move(names)) {}

  // Takes new text and returns what is now certain.
  std::vector<ToolCallPart> push(std::string_view text);
  // What is left when no more comes.
  std::vector<ToolCallPart> finish();
  // Whether there are calls, the last of them with all of its arguments.
  bool has_whole_calls() const noexcept { return stage_ == Stage::head || stage_ == Stage::name; }

 private:
  enum class Stage { text, opening, head, name, arguments };
  bool advance(std::vector<ToolCallPart>& parts);
  bool advance_text(std::vector<ToolCallPart>& parts);
  bool advance_opening(std::vector<ToolCallPart>& parts);
  void give(ToolCallPart::Kind kind, std::size_t count, std::vector<ToolCallPart>& parts);

  ToolCallForm form_;
  std::vector<std::string> names_;
  Stage stage_ = Stage::text;
  bool has_text_ = false, is_in_string_ = false, is_escaped_ = false;
  std::size_t depth_ = 0;
  std::string held_;
};

}  // namespace nibble
