// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a grammar, by the first of them: 's' a JSON schema, 'l' one that is kept loosely, as arguments of calls
// in every form, 't' a text that such calls are taken from; else GBNF; and a text walked through it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "io/json_text.h"
#include "model/chat/tool_calls.h"
#include "nibble/error.h"
#include "serve/grammar/call_grammar.h"
#include "serve/grammar/gbnf.h"
#include "serve/grammar/grammar.h"
#include "serve/grammar/json_schema.h"

namespace {

using namespace nibble;
using namespace nibble::serve;

constexpr std::array<std::string_view, 5> kTemplates = {"", "<tool_call>", "tools \"parameters\": ", "[TOOL_CALLS] [",
                                                        "[TOOL_CALLS][ARGS]"};

// The same comes of a text however it is cut.
void take_apart(std::string_view text) {
  for (const std::string_view known : kTemplates) {
    std::string whole;
    for (const std::size_t size : {std::size_t{1}, std::size_t{7}, text.size() + 1}) {
      ToolCallStream stream(tool_call_form(known), {"f", "get"});
      std::string taken;
      const auto add = [&](const std::vector<ToolCallPart>& parts) {
        for (const ToolCallPart& part : parts) taken += part.text + (part.kind == ToolCallPart::Kind::name ? "(" : "");
      };
      for (std::size_t i = 0; i < text.size(); i += size) add(stream.push(text.substr(i, size)));
      add(stream.finish());
      if (size > 1 && taken != whole) std::abort();
      whole = std::move(taken);
    }
  }
}

GrammarRules calls_of(std::string_view schema, std::size_t form) {
  static const Tokenizer tokenizer = Tokenizer::from_json(
      R"({"model": {"type": "BPE", "vocab": {"<": 0, "[TOOL_CALLS]": 1}, "merges": []},
          "added_tokens": [{"id": 1, "content": "[TOOL_CALLS]", "special": true}]})",
      "", "the tokenizer");
  const std::vector<CallableTool> tools = {{"f", grammar_of_loose_objects(parse_json(schema, "schema"))}};
  return either(grammar_of_calls(tool_call_form(kTemplates[form]), tools, true, tokenizer), grammar_of_objects());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 4096) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] == 't') {
      take_apart(text);
      return 0;
    }
    GrammarMachine machine(data[0] == 's'   ? grammar_of_schema(parse_json(text, "schema"))
                           : data[0] == 'l' ? calls_of(text, size % kTemplates.size())
                                            : parse_gbnf(text));
    (void)machine.next(machine.begin(), R"({"a": [1, "b"]})");
    (void)machine.next(machine.begin(), text.substr(0, 200));
    if (data[0] == 'l')
      (void)machine.next(machine.begin(), "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"b\"]}}");
  } catch (const Error&) {
    return 0;
  }
  return 0;
}
