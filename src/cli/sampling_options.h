// SPDX-License-Identifier: Apache-2.0
//
// How the next token is chosen: options of verbs that write text.
#pragma once

#include "cli/session.h"
#include "nibble/generate.h"

namespace nibble::cli {

// --temperature, --top-k, --top-p, --min-p, --repetition-penalty. The defaults shown are sampler's.
void add_sampler(CLI::App& verb, SamplerOptions& sampler);
// These, --seed and --stop. The defaults shown are options'.
void add_sampling(CLI::App& verb, GenerateOptions& options);

// Error(invalid_argument): an option that has no effect beside the others, or out of its range.
void judge_sampling(const CLI::App& verb, const GenerateOptions& options);

// "end", "stop", "length", "context" or "interrupted".
const char* stop_reason_name(StopReason reason);

// Tokens a second; 0: nothing was done, or too little to be measured.
double token_rate(std::size_t tokens, double seconds);

}  // namespace nibble::cli
