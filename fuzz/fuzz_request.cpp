// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as the body of a request, read as each of the interfaces reads it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "serve/api/chat_request.h"
#include "serve/api/generation_fields.h"
#include "serve/api/messages_request.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nibble::serve;
  static const ServedModel model = {.names = {"m"}, .context = 512, .trained_context = 512, .vocabulary = 1000};
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
  read([&] { (void)read_conversation(RequestFields(body), model); });
  read([&] {
    const Json chat = chat_of_messages(body, true);
    (void)read_generation_fields(RequestFields(chat), model, 16);
    (void)read_conversation(RequestFields(chat), model);
  });
  return 0;
}
