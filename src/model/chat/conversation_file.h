// SPDX-License-Identifier: Apache-2.0
//
// Conversations out of files: JSON lines, or one JSON text. Each is an object with "messages" (and "tools",
// "documents", further variables of the template), or a list of messages alone; lists of "conversations" whose items
// have "from" and "value" are read as well. Safe from any thread.
//
//   for (const Conversation& one : read_conversations(text, "chats.jsonl")) ...
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/chat/chat_template.h"

namespace nibble {

// Error(unusable_input) names source, line and what is missing; Error(corrupt): no JSON. At least one.
std::vector<Conversation> read_conversations(std::string_view text, const std::string& source);

}  // namespace nibble
