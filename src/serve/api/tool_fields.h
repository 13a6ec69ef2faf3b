// SPDX-License-Identifier: Apache-2.0
//
// Tools of a chat request, and whether they are to be called.
#pragma once

#include <string>
#include <vector>

#include "serve/api/request_fields.h"
#include "serve/grammar/call_grammar.h"

namespace nibble::serve {

struct ToolFields {
  enum class Choice { none, automatic, required };
  Choice choice = Choice::none;
  bool several_calls = true;
  Json told = nullptr;              // what the template tells the model
  std::vector<CallableTool> tools;  // that it may call
};

// tools, tool_choice and parallel_tool_calls. ApiError(400) names the field: no tools, of another type than function, a
// name that is none, or there twice; of one that is strict a schema that is not supported whole.
ToolFields read_tools(const RequestFields& fields);

}  // namespace nibble::serve
