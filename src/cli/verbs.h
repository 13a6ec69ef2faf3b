// SPDX-License-Identifier: Apache-2.0
//
// The verbs of the command line, one file each. A verb adds its options to the application and sets the callback that
// runs it.
#pragma once

#include <filesystem>
#include <string>

#include "calibrate/layer_walk.h"
#include "cli/session.h"

namespace nibble::cli {

void add_inspect(CLI::App& app, Session& session);
void add_formats(CLI::App& app, Session& session);
void add_info(CLI::App& app, Session& session);
void add_quantize(CLI::App& app, Session& session);
void add_convert(CLI::App& app, Session& session);
void add_eval(CLI::App& app, Session& session);
void add_compare(CLI::App& app, Session& session);
void add_calibrate(CLI::App& app, Session& session);
void add_run(CLI::App& app, Session& session);
void add_chat(CLI::App& app, Session& session);
void add_serve(CLI::App& app, Session& session);
void add_bench(CLI::App& app, Session& session);
void add_synth(CLI::App& app, Session& session);
void add_recipe(CLI::App& app, Session& session);
void add_check(CLI::App& app, Session& session);
void add_explain(CLI::App& app, Session& session);
void add_plan(CLI::App& app, Session& session);
void add_tokenize(CLI::App& app, Session& session);
void add_train(CLI::App& app, Session& session);
void add_distill(CLI::App& app, Session& session);
void add_train_net(CLI::App& app, Session& session);
void add_train_tokenizer(CLI::App& app, Session& session);

// --walk, of verbs that calibrate.
void add_walk(CLI::App& verb, WalkArithmetic& arithmetic);
// --hidden-states, of the same: "memory" or "disk".
void add_hidden_states(CLI::App& verb, std::string& where);
// Where they are spilled beside an output; empty: nowhere. Error(invalid_argument) for any other word.
std::filesystem::path spill_directory(const std::string& where, const std::filesystem::path& output);
// --split, of verbs that judge against an original.
void add_split(CLI::App& verb, std::size_t& windows);

// In the order in which help shows them.
inline constexpr void (*kVerbs[])(CLI::App&, Session&) = {
    add_compare, add_quantize, add_convert,   add_calibrate,       add_eval,    add_run,     add_chat, add_serve,
    add_bench,   add_inspect,  add_check,     add_tokenize,        add_formats, add_explain, add_plan, add_recipe,
    add_train,   add_distill,  add_train_net, add_train_tokenizer, add_synth,   add_info};

}  // namespace nibble::cli
