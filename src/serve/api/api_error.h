// SPDX-License-Identifier: Apache-2.0
//
// Why a request is refused, in the words and numbers that clients of OpenAI's interface know.
#pragma once

#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "nibble/error.h"
#include "serve/http/http_server.h"

namespace nibble::serve {

using Json = nlohmann::ordered_json;

class ApiError : public std::exception {
 public:
  // param: the field that is at fault; code: a word for programs.
  ApiError(int status, std::string message, std::string param = "", std::string code = "")
      : status_(status), message_(std::move(message)), param_(std::move(param)), code_(std::move(code)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  int status() const noexcept { return status_; }
  const std::string& param() const noexcept { return param_; }
  const std::string& code() const noexcept { return code_; }

 private:
  int status_;
  std::string message_, param_, code_;
};

// {"error": {"message", "type", "param", "code"}}, and "type": "error" beside it for Anthropic's clients
Json error_json(const ApiError& error);
// The same as an answer. retry_seconds: 0: it says nothing of that.
HttpAnswer error_answer(const ApiError& error, unsigned retry_seconds = 0);
// What an error of the library means to a client.
ApiError api_error_of(const std::exception& error);

// On one line; what is not UTF-8 becomes U+FFFD.
std::string line_of(const Json& json);

}  // namespace nibble::serve
