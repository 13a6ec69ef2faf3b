// SPDX-License-Identifier: Apache-2.0
//
// A model that is ready to be talked to.
#pragma once

#include <string>

#include "cli/chat/chat_options.h"
#include "cli/session.h"
#include "engine/chat_session.h"

namespace nibble::cli {

struct LoadedChat {
  // Says what is worth saying of how the model is read. Errors: those of opening a model, no chat template.
  LoadedChat(const std::string& path, const ChatOptions& options, Session& session);

  SourceModel model;
  ModelTemplate chat_template;
  double load_seconds = 0;
  Decoder decoder;

  // With a context that holds so many tokens, at most the model's own. Error(invalid_argument): asked for more.
  ChatSession talk(std::size_t context);
};

// A model's answer to a conversation, printed as it comes, or told in JSON; without thoughts, but in JSON. Sets the
// exit code of a stop.
struct OneAnswer {
  Conversation conversation;
  GenerateOptions generate;  // context 0: what is needed
  bool quiet = false;        // no line about speed
};
void answer_once(LoadedChat& loaded, const OneAnswer& asked, Session& session);

}  // namespace nibble::cli
