// SPDX-License-Identifier: Apache-2.0
#include "serve/api/tool_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "serve/grammar/json_schema.h"

namespace nibble::serve {

namespace {

constexpr std::size_t kMostTools = 128, kLongestName = 128;

bool is_name(std::string_view name) {
  const auto is_part = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  return !name.empty() && name.size() <= kLongestName && std::ranges::all_of(name, is_part);
}

CallableTool read_tool(const Json& tool, const std::string& place) {
  const auto refuse = [&](const std::string& what) { throw ApiError(400, place + ": " + what, place); };
  if (!tool.is_object()) refuse("a tool is an object");
  if (const Json type = tool.value("type", Json("function")); type != "function")
    throw ApiError(400, fmt::format("{}: tools are functions, and not of type {}", place, line_of(type)), place,
                   "unsupported_parameter");
  const auto function = tool.find("function");
  if (function == tool.end() || !function->is_object()) refuse("its function is missing");
  const RequestFields fields(*function);
  if (const Json* const name = fields.find("name"); name != nullptr && !name->is_string()) refuse("a name is a text");
  if (const Json* const strict = fields.find("strict"); strict != nullptr && !strict->is_boolean())
    refuse("strict is true or false");
  CallableTool read{.name = fields.text("name", ""), .arguments = {}};
  if (!is_name(read.name)) refuse(fmt::format("a name has up to {} letters, digits, '_', '-' and '.'", kLongestName));
  const Json* const parameters = fields.find("parameters");
  if (parameters != nullptr && !parameters->is_object()) refuse("parameters is a JSON schema");
  const bool is_strict = fields.flag("strict", false);
  try {
    if (parameters == nullptr)
      read.arguments = grammar_of_objects();
    else if (!is_strict)
      read.arguments = grammar_of_loose_objects(*parameters);
    else if (parameters->value("type", Json()) != "object")
      refuse("parameters of a strict function are of type object");
    else
      read.arguments = grammar_of_schema(*parameters);
  } catch (const Error& error) {
    throw ApiError(400, fmt::format("{}: {}", place, error.what()), place, "unsupported_parameter");
  }
  return read;
}

// The name of a function that is to be called; "" where any may be.
std::string named_by(const Json& choice) {
  if (!choice.is_object() || choice.value("type", Json()) != "function" || !choice.contains("function") ||
      !choice["function"].is_object())
    throw ApiError(400, "tool_choice is none, auto, required, or a function by its name", "tool_choice",
                   "unsupported_parameter");
  return RequestFields(choice["function"]).text("name", "");
}

}  // namespace

ToolFields read_tools(const RequestFields& fields) {
  ToolFields read;
  const Json* const tools = fields.find("tools");
  const Json* const choice = fields.find("tool_choice");
  if (tools != nullptr && (!tools->is_array() || tools->size() > kMostTools))
    throw ApiError(400, fmt::format("tools must be a list of at most {}", kMostTools), "tools");
  const bool is_word = choice != nullptr && choice->is_string();
  if (tools == nullptr || tools->empty()) {
    if (choice != nullptr && !(is_word && (*choice == "none" || *choice == "auto")))
      throw ApiError(400, "tool_choice asks for a call, and there are no tools", "tool_choice");
    return read;
  }
  read.several_calls = fields.flag("parallel_tool_calls", true);
  if (is_word && *choice == "none") return read;
  read.told = *tools;
  std::size_t symbols = 0;
  for (std::size_t i = 0; i < tools->size(); ++i) {
    const std::string place = fmt::format("tools[{}]", i);
    CallableTool tool = read_tool((*tools)[i], place);
    if (std::ranges::find(read.tools, tool.name, &CallableTool::name) != read.tools.end())
      throw ApiError(400, fmt::format("{}: there are two tools of this name: {}", place, tool.name), place);
    symbols += tool.arguments.symbols();
    if (symbols > GrammarRules::kMostSymbols)
      throw ApiError(400, place + ": the schemas of all tools are too large", place);
    read.tools.push_back(std::move(tool));
  }
  read.choice = ToolFields::Choice::required;
  if (choice == nullptr || (is_word && *choice == "auto")) {
    read.choice = ToolFields::Choice::automatic;
  } else if (!is_word || *choice != "required") {
    const std::string name = named_by(*choice);
    const auto found = std::ranges::find(read.tools, name, &CallableTool::name);
    if (found == read.tools.end())
      throw ApiError(400, fmt::format("tool_choice names a function that is not among the tools: '{}'", name),
                     "tool_choice");
    read.tools = {*found};
    read.several_calls = false;
  }
  return read;
}

}  // namespace nibble::serve
