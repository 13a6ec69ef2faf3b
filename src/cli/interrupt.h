// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C. The first one asks the work to stop at the next safe point; a second one ends the program as usual.
#pragma once

namespace nibble::cli {

void catch_interrupts();
bool interrupted() noexcept;

}  // namespace nibble::cli
