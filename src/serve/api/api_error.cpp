// SPDX-License-Identifier: Apache-2.0
#include "serve/api/api_error.h"

#include "model/chat/template_error.h"

namespace nibble::serve {

namespace {

const char* type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 501:
      return "not_supported_error";
    case 503:
      return "unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

}  // namespace

std::string line_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json error_json(const ApiError& error) {
  const auto text_or_null = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  return {{"type", "error"},
          {"error",
           {{"message", error.what()},
            {"type", type_of(error.status())},
            {"param", text_or_null(error.param())},
            {"code", text_or_null(error.code())}}}};
}

HttpAnswer error_answer(const ApiError& error, unsigned retry_seconds) {
  HttpAnswer answer{.status = error.status(), .body = line_of(error_json(error))};
  if (retry_seconds > 0) answer.headers.emplace_back("Retry-After", std::to_string(retry_seconds));
  if (error.status() == 401) answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  return answer;
}

ApiError api_error_of(const std::exception& error) {
  if (const auto* const known = dynamic_cast<const ApiError*>(&error)) return *known;
  if (const auto* const of_template = dynamic_cast<const TemplateError*>(&error)) {
    // A template that complains of a conversation, or fails with it, does not take it.
    if (of_template->cause() == TemplateError::Cause::raised)
      return {422, "the model's chat template refuses the conversation: " + of_template->message(), "messages"};
    return {422, std::string("the model's chat template fails with this conversation: ") + error.what(), "messages"};
  }
  if (const auto* const ours = dynamic_cast<const Error*>(&error)) switch (ours->kind()) {
      case ErrorKind::invalid_argument:
      case ErrorKind::unusable_input:
      case ErrorKind::corrupt:
        return {400, error.what()};
      case ErrorKind::unsupported:
        return {501, error.what()};
      default:
        break;
    }
  return {500, error.what()};
}

}  // namespace nibble::serve
