// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as the body of a request, read as each of the interfaces reads it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "serve/api/chat_request.h"
#include "serve/api/generation_fields.h"
#include "serve/api/messages_request.h"
#include "serve/api/tool_fields.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nibble::serve;
  static const ServedModel model = [] {
    ServedModel made{};
    made.names = {"m"};
    made.context = made.trained_context = 512;
    made.vocabulary = 1000;
    return made;
  }();
  Json body;
  try {
    body = parse_body({reinterpret_cast<const char*>(data), size});
  } catch (const ApiError&) {
    return 0;
  }
  const auto read = [&](const auto& act) {
    try {
      act();
    } catch (const ApiError& error) {
      (void)line_of(error_json(error));
    }
  };
  read([&] { (void)read_generation_fields(RequestFields(body), model, 16); });
  const auto read_chat = [&](const Json& chat) {
    const RequestFields fields(chat);
    (void)read_conversation(fields, read_tools(fields).told, model);
  };
  read([&] { read_chat(body); });
  read([&] {
    const Json chat = chat_of_messages(body, true);
    (void)read_generation_fields(RequestFields(chat), model, 16);
    read_chat(chat);
  });
  return 0;
}
