// SPDX-License-Identifier: Apache-2.0
//
// A request of Anthropic's /v1/messages in the words of a chat request.
#pragma once

#include "serve/api/request_fields.h"

namespace nibble::serve {

// needs_limit: max_tokens must be there. ApiError(400) names the field.
Json chat_of_messages(const Json& body, bool needs_limit);

}  // namespace nibble::serve
