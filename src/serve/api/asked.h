// SPDX-License-Identifier: Apache-2.0
//
// What a request for a text comes to: what the scheduler is asked for, and what makes an answer of it. ApiErrors and
// TemplateErrors say why it comes to nothing.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "serve/api/answer.h"
#include "serve/api/served_model.h"
#include "serve/generation.h"

namespace nibble::serve {

struct Asked {
  std::vector<GenerationRequest> requests;
  std::shared_ptr<Answer> answer;
};

// /v1/chat/completions, /v1/completions, Anthropic's /v1/messages and /v1/responses. id: of the request.
Asked ask_chat(const Json& body, const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
               const std::string& id);
Asked ask_messages(const Json& body, const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                   const std::string& id);
Asked ask_responses(const Json& body, const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
                    const std::string& id);
Asked ask_text(const Json& body, const ServedModel& model, std::shared_ptr<HttpExchange> exchange,
               const std::string& id);

}  // namespace nibble::serve
