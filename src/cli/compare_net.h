// SPDX-License-Identifier: Apache-2.0
//
// `nibble compare` of a small net.
#pragma once

#include <string>

#include "cli/eval_net.h"
#include "cli/session.h"

namespace nibble::cli {

void compare_net_formats(const CLI::App& verb, const std::string& net, const NetEvalArguments& arguments,
                         bool is_markdown, Session& session);

}  // namespace nibble::cli
