// SPDX-License-Identifier: Apache-2.0
//
// What verbs do with a small net in a model's place.
//
//   NetArguments net;
//   add_net_options(*verb, net);
//   if (is_net(options.model)) return inspect_net(options.model, net_options(net), session);
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"
#include "net/net.h"
#include "pipeline/net/net_speed.h"
#include "pipeline/net/run_net.h"

namespace nibble::cli {

struct NetArguments {
  std::vector<std::string> shapes, constants;
  bool simplifies = false;
};

// --shape and --constant.
void add_net_shape_options(CLI::App& verb, NetArguments& arguments);
// And --simplify.
void add_net_options(CLI::App& verb, NetArguments& arguments);
// Error(invalid_argument): what is no NAME=1,3,224,224 or NAME=NUMBER.
NetOptions net_options(const NetArguments& arguments);
// Error(invalid_argument): an option of nets that was given beside another kind of model.
void refuse_net_options(const CLI::App& verb);

void inspect_net(const std::string& path, const NetOptions& options, Session& session);
void check_net(const std::string& path, const NetOptions& options, Session& session);
// output: empty: nothing is written.
void run_net_files(const std::string& path, const NetOptions& options, const std::vector<std::string>& inputs,
                   NetArithmetic arithmetic, const std::string& output, Session& session);
void bench_net(const std::string& path, const NetOptions& options, const NetSpeedOptions& how, Session& session);

}  // namespace nibble::cli
