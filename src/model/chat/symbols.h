// SPDX-License-Identifier: Apache-2.0
//
// Which names mean what, as Jinja decides it before anything runs. A frame (the template, a loop's body, a macro) that
// sets a name before it reads it makes that name its own: until then it is undefined, whatever the conversation has.
#pragma once

#include "model/chat/syntax.h"

namespace nibble::chat {

// Fills in `masked`, `uses_loop` and what macros take. Throws a SyntaxFault.
void find_masked(Program& program);

}  // namespace nibble::chat
