// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C. The first one asks the work to stop at the next safe point; a second one ends the program as usual.
#pragma once

namespace nibble::cli {

void catch_interrupts();
bool interrupted() noexcept;

// For programs in which Ctrl-C stops a part of the work: from here on the third one in a row ends the program.
void expect_interrupts() noexcept;
// True when Ctrl-C was pressed: it is forgotten, and the next one is a first one again. False when nothing came, or a
// signal that ends programs.
bool take_interrupt() noexcept;

}  // namespace nibble::cli
