// SPDX-License-Identifier: Apache-2.0
//
// The messages of a chat request, as templates know them.
#pragma once

#include "model/chat/chat_template.h"
#include "serve/api/request_fields.h"
#include "serve/api/served_model.h"

namespace nibble::serve {

// messages, documents, chat_template_kwargs and reasoning_effort. tools: that the model is told of; null: none. Lists
// of text parts become texts; what a history holds of calls of tools is taken as it is, their arguments as objects
// where they are JSON. ApiError(400) names message and fault; parts that are no text are one.
Conversation read_conversation(const RequestFields& fields, Json tools, const ServedModel& model);

struct RenderedChat {
  std::string text;
  std::vector<std::int32_t> ids;
};
// With the beginning of an answer behind it, and with tools as text where the template knows none. ApiError(501): the
// model has no template; TemplateError.
RenderedChat render_chat(Conversation conversation, const ServedModel& model);

}  // namespace nibble::serve
