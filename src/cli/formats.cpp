// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "cli/verbs.h"
#include "format/planar/spec.h"
#include "nibble/formats.h"
#include "pipeline/convert/places.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

const char* group_name(FormatGroup group) {
  switch (group) {
    case FormatGroup::raw:
      return "raw";
    case FormatGroup::block:
      return "block";
    case FormatGroup::planar:
      return "planar";
    case FormatGroup::mix:
      return "mix";
  }
  return "";
}

constexpr const char* kNotes = R"(
raw     numbers as they are; GGUF or a directory
block   every matrix in blocks of this format, in a GGUF file (or a directory)
planar  the layers' Linears as codes and scales, in a directory
mix     llama.cpp's mixtures of block formats, chosen by layer and kind of matrix: 'nibble recipe show NAME'

Planar formats are spelled POINTS[:OPTION]..., in any order, as in int4:g128:asym; any such spelling is taken, not only those above:
)";

void print_containers(Session& session) {
  const std::vector<Exactness> all = measure_exactness();
  if (!session.json()) return session.print(exactness_markdown(all));
  Json list = Json::array();
  for (const Exactness& one : all)
    list.push_back({{"format", one.format},
                    {"container", one.container},
                    {"place", one.place.empty() ? Json() : Json(one.place)},
                    {"obstacle", one.obstacle.empty() ? Json() : Json(one.obstacle)}});
  session.print_json({{"containers", std::move(list)}});
}

constexpr const char* kOtherSpellings = R"(
Formats whose weights share codes, in nibble's own directory, with a scale for each row:
trellisK:lL   K = 1..6 bits a weight, found in 2^L states: l8, l12 or l16, of which more lose less and take longer;
              for Linears, not for rows that are looked up
e8p2 .. e8p4  2 to 4 bits a weight, 8 columns as a point of the lattice E8 or of a finer one

Behind any planar format with scales by groups or rows:
+outliers:S%  S = 0.01..5: that share of the weights, where it gains most, is put right by 16 bits each,
              as in int3:g128+outliers:0.5%
+sparse:2:4   two of every four weights are 0, as in int4:g64+sparse:2:4; behind f16 and bf16, too
+sparse:P%    P = 5..95: that share of the weights of each group, or of 128 where there are none, is 0, as in
              int4:g128+sparse:50%
)";

}  // namespace

void add_formats(CLI::App& app, Session& session) {
  CLI::App* const verb = app.add_subcommand("formats", "List every format with its bits per weight");
  verb->footer(
      "Examples:\n  nibble formats\n  nibble formats --json\n  nibble formats --containers   which container holds "
      "which "
      "format's numbers");
  session.add_json(*verb);
  const auto by_container = std::make_shared<bool>(false);
  verb->add_flag("--containers", *by_container,
                 "In place of the list a Markdown table: how each container holds the numbers of each format, if it "
                 "does");
  verb->callback([by_container, &session] {
    if (*by_container) return print_containers(session);
    const auto formats = list_format_descriptions();
    if (session.json()) {
      Json list = Json::array();
      for (const auto& format : formats) {
        list.push_back({{"name", format.name},
                        {"kind", group_name(format.group)},
                        {"bits_per_weight", nullptr},
                        {"description", format.description}});
        if (format.group != FormatGroup::mix) list.back()["bits_per_weight"] = format.bits_per_weight;
      }
      return session.print_json({{"formats", list}});
    }
    Table table({{"format"}, {"kind"}, {"bits/weight", Align::right}, {"what it is"}});
    for (const auto& format : formats)
      table.add({format.name, group_name(format.group),
                 format.group == FormatGroup::mix ? "" : significant_text(format.bits_per_weight, 4),
                 format.description});
    session.print(table.text(session.style()) + kNotes + planar_spelling_help() + kOtherSpellings);
  });
}

}  // namespace nibble::cli
