// SPDX-License-Identifier: Apache-2.0
#include "cli/compare_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/option_checks.h"
#include "cli/places.h"
#include "nibble/error.h"
#include "report/net_verdict_report.h"

namespace nibble::cli {

void compare_net_formats(const CLI::App& verb, const std::string& net, const NetEvalArguments& arguments,
                         bool is_markdown, Session& session) {
  constexpr std::array kOfNets = {"model",      "--data", "--labels",  "--shape", "--constant",
                                  "--markdown", "--json", "--threads", "--help"};
  for (const CLI::Option* const option : verb.get_options())
    if (const std::string name = option->get_name(); std::ranges::find(kOfNets, name) == kOfNets.end())
      refuse_without_effect(verb, name, false, "of nets");
  if (arguments.data.empty())
    throw Error(ErrorKind::invalid_argument,
                "formats of a net are compared on samples of its inputs: add --data DATA, and --labels where there are "
                "some");
  Places places;
  places.reads("the net", net);
  places.reads("--labels", arguments.labels);
  places.judge();
  const NetComparison made =
      compare_net(net, net_options(arguments.net), {.samples = arguments.data, .labels = arguments.labels},
                  session.progress(), session.machine());
  session.end_progress();
  if (session.json()) return session.print_json(to_json(made));
  const Table table = net_comparison_table(made);
  session.print(is_markdown ? table.markdown() : table.text(session.style()));
  session.print(
      fmt::format("\n{} samples judged, {} others calibrated int8 and int4; ternary and binary weights are "
                  "rounded as they are, not trained\n",
                  made.judged, made.calibrated));
}

}  // namespace nibble::cli
