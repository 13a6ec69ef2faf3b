// SPDX-License-Identifier: Apache-2.0
//
// A request of OpenAI's /v1/responses in the words of a chat request. Nothing is kept between requests.
#pragma once

#include "serve/api/request_fields.h"

namespace nibble::serve {

// ApiError(400) names the field.
Json chat_of_responses(const Json& body);

}  // namespace nibble::serve
