// SPDX-License-Identifier: Apache-2.0
//
// `nibble convert` of a small net.
#pragma once

#include <string>
#include <vector>

#include "cli/net_command.h"
#include "cli/session.h"

namespace nibble::cli {

// containers: as --to gives them; none: by the output's ending.
void convert_net(const CLI::App& verb, const std::string& net, const NetArguments& arguments,
                 const std::vector<std::string>& containers, const std::string& output, bool writes, Session& session);

}  // namespace nibble::cli
