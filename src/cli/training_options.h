// SPDX-License-Identifier: Apache-2.0
//
// What verbs that train have in common.
//
//   add_arithmetic(*verb, options->arithmetic);
//   settings.arithmetic = arithmetic_of(options->arithmetic, session.machine().isa);
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"
#include "train/tape.h"

namespace nibble::cli {

void add_arithmetic(CLI::App& verb, std::string& name);
// Error(unsupported): the processor has no such products.
ProductArithmetic arithmetic_of(const std::string& name, Isa isa);

// All texts, one behind the other, a separator between two.
std::string joined_texts(const std::vector<std::string>& paths, const std::string& separator, Session& session);

}  // namespace nibble::cli
