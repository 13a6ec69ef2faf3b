// SPDX-License-Identifier: Apache-2.0
//
// The page that a browser shows at "/": the files of this folder, as they were when nibble was built. They hold nothing
// of the model, so everybody may read them; what the page asks for needs a key as any other request does.
#pragma once

#include <optional>
#include <span>

#include "base/embedded_text.h"
#include "serve/http/http_server.h"

namespace nibble::serve {

std::span<const EmbeddedText> page_files();

// A file for "/" or "/page/NAME", under a policy by which the page runs no script but its own and asks no other server;
// 304 where the browser has it. None: there is no such file.
std::optional<HttpAnswer> page_answer(const HttpRequest& request);

}  // namespace nibble::serve
