// SPDX-License-Identifier: Apache-2.0
//
// Names from untrusted files, made fit for one line of an error message. Safe from any thread.
//
//   throw Error(ErrorKind::corrupt, source + ": tensor " + quote_name(name) + ": ...");
#pragma once

#include <string>
#include <string_view>

namespace nibble {

// 'name' in quotes. Control characters and bytes that are not UTF-8 become '?', and what is beyond 120 bytes becomes
// "...".
std::string quote_name(std::string_view name);

}  // namespace nibble
