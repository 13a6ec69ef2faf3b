// SPDX-License-Identifier: Apache-2.0
//
// What verbs that train have in common.
//
//   add_steps(*verb, settings.steps, settings.batch);
//   add_arithmetic(*verb, options->arithmetic);
//   settings.arithmetic = arithmetic_of(options->arithmetic, session.machine().isa);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/session.h"
#include "train/tape.h"
#include "train/text_batches.h"

namespace nibble::cli {

// --steps, --batch, --length
void add_steps(CLI::App& verb, std::uint64_t& steps, BatchSettings& batch);
// --fall, --warm-up
void add_fall(CLI::App& verb, std::string& fall, double& warm_up);
// --validation, --held-out
void add_held_out(CLI::App& verb, std::vector<std::string>& validation, double& held_out);
void add_arithmetic(CLI::App& verb, std::string& name);
void add_save_every(CLI::App& verb, std::uint64_t& steps);
// Error(unsupported): the processor has no such products.
ProductArithmetic arithmetic_of(const std::string& name, Isa isa);

// All texts, one behind the other, a separator between two.
std::string joined_texts(const std::vector<std::string>& paths, const std::string& separator, Session& session);

}  // namespace nibble::cli
