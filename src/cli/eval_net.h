// SPDX-License-Identifier: Apache-2.0
//
// `nibble eval` of a small net against the one that it was made from.
#pragma once

#include <string>
#include <vector>

#include "cli/net_command.h"
#include "cli/session.h"

namespace nibble::cli {

struct NetEvalArguments {
  NetArguments net;
  std::vector<std::string> data;
  std::string labels;
  // Of eval alone.
  std::string detections, truth;  // corners, centers or nothing
  bool has_no_background = false;
};

void add_net_eval_options(CLI::App& verb, NetEvalArguments& arguments);
// Those of detectors.
void add_detection_options(CLI::App& verb, NetEvalArguments& arguments);
// Error(invalid_argument): options of nets beside models.
void refuse_net_eval_options(const CLI::App& verb);
// layers: a row for each value that both have.
void eval_net(const CLI::App& verb, const std::vector<std::string>& nets, const std::string& against, bool layers,
              const NetEvalArguments& arguments, Session& session);

}  // namespace nibble::cli
