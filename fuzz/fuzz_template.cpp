// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a chat template, rendered with one conversation that has all that templates ask for, under limits that
// keep a run short.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "io/json_text.h"
#include "model/chat/chat_template.h"

namespace {

nibble::Conversation make_conversation() {
  nibble::Conversation conversation;
  conversation.messages = nibble::parse_json(
      R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Größe?"}]},
          {"role": "assistant", "content": null, "tool_calls": [{"id": "a1", "type": "function",
           "function": {"name": "size", "arguments": {"of": "house", "count": 2, "exact": 1.5, "list": [1, null]}}}]},
          {"role": "tool", "name": "size", "content": "9"}, {"role": "user", "content": "Thanks"}])",
      "conversation");
  conversation.tools = nibble::parse_json(
      R"([{"type": "function", "function": {"name": "size", "parameters": {"type": "object", "properties": {}}}}])",
      "tools");
  conversation.add_generation_prompt = true;
  conversation.bos_token = "<s>";
  conversation.eos_token = "</s>";
  conversation.variables["enable_thinking"] = true;
  return conversation;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nibble;
  static const Conversation conversation = make_conversation();
  const TemplateLimits limits = {.steps = 100'000, .depth = 200, .held_bytes = 4U << 20U, .output_bytes = 1U << 20U};
  try {
    ChatTemplate::parse({reinterpret_cast<const char*>(data), size}, "template", limits).render(conversation);
  } catch (const TemplateError&) {
    return 0;
  }
  return 0;
}
