// SPDX-License-Identifier: Apache-2.0
#include "cli/convert_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/option_checks.h"
#include "cli/places.h"
#include "pipeline/net/convert_net_file.h"
#include "report/number_text.h"

namespace nibble::cli {

void convert_net(const CLI::App& verb, const std::string& net, const NetArguments& arguments,
                 const std::vector<std::string>& containers, const std::string& output, bool writes, Session& session) {
  constexpr std::array kOfNets = {"model",     "--output", "--to",      "--shape", "--constant",
                                  "--dry-run", "--json",   "--threads", "--help"};
  for (const CLI::Option* const option : verb.get_options())
    if (const std::string name = option->get_name(); std::ranges::find(kOfNets, name) == kOfNets.end())
      refuse_without_effect(verb, name, false, "of nets");
  std::vector<NetOutput> outputs = arrange_net_outputs(containers, output);
  Places places;
  places.reads("the net", net);
  for (const NetOutput& one : outputs)
    for (const std::filesystem::path& file : one.files()) places.writes_file("--output", file);
  places.judge();
  if (!writes)
    for (NetOutput& one : outputs) one.path.clear();
  const std::vector<WrittenNet> written = convert_net_file(net, net_options(arguments), outputs, session.machine());
  Json files = Json::array();
  std::string text;
  for (const WrittenNet& one : written) {
    files.push_back({{"container", net_container_name(one.output.container)},
                     {"path", one.output.path.string()},
                     {"bytes", one.bytes()}});
    text += fmt::format("{}: {}\n",
                        writes ? one.output.path.string() : std::string(net_container_name(one.output.container)),
                        bytes_text(one.bytes()));
  }
  if (session.json()) return session.print_json({{"files", std::move(files)}});
  session.print(text);
}

}  // namespace nibble::cli
