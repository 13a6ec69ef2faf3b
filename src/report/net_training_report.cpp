// SPDX-License-Identifier: Apache-2.0
#include "report/net_training_report.h"

#include <fmt/format.h>

#include "report/net_verdict_report.h"
#include "report/number_text.h"

namespace nibble {
namespace {

std::string judged_text(const NetJudgement& judgement) {
  return fmt::format("{} of {} right ({})", grouped_text(judgement.right), grouped_text(judgement.examples),
                     percent_text(judgement.share(), 2));
}

Json to_json(const NetJudgement& judgement) {
  return {{"epoch", judgement.epoch},
          {"examples", judgement.examples},
          {"right", judgement.right},
          {"loss", judgement.loss}};
}

}  // namespace

Table trained_parts_table(const TrainNetSummary& summary) {
  Table table({{"makes"}, {"weights", Align::right}, {"rounded to"}, {"reads"}});
  for (const TrainNetSummary::RoundedPart& part : summary.parts)
    table.add({part.name, grouped_text(part.numbers), part.format, part.reads_signs ? "signs" : "numbers"});
  return table;
}

std::string net_training_text(const TrainNetSummary& summary) {
  std::string text =
      fmt::format("{} parameters, {} examples, {} held out; {} steps in {}\n", grouped_text(summary.parameters),
                  grouped_text(summary.examples), grouped_text(summary.held_out), grouped_text(summary.steps),
                  duration_text(summary.seconds));
  if (!summary.losses.empty())
    text += fmt::format("loss {:.4f}, of the first pass {:.4f}\n", summary.losses.back(), summary.losses.front());
  if (!summary.judgements.empty())
    text += fmt::format("held-out at the beginning: {}\n", judged_text(summary.judgements.front()));
  if (summary.kept)
    text += fmt::format("written: {}, {}\n",
                        summary.kept->epoch == 0 ? "what it began with"
                                                 : fmt::format("the weights behind pass {}", summary.kept->epoch),
                        judged_text(*summary.kept));
  if (summary.written)
    text += "\nbeside the net as it was, on what was held out:\n" + net_verdict_text(*summary.written);
  for (const TrainNetSummary::File& file : summary.files)
    text += fmt::format("{}: {} ({} of the source's)\n", file.output.path.string(), bytes_text(file.bytes),
                        percent_text(static_cast<double>(file.bytes) / static_cast<double>(summary.source_bytes), 1));
  return text;
}

Json to_json(const TrainNetSummary& summary) {
  Json json = {{"parameters", summary.parameters}, {"examples", summary.examples},     {"held_out", summary.held_out},
               {"steps", summary.steps},           {"resumed_at", summary.resumed_at}, {"losses", summary.losses},
               {"seconds", summary.seconds}};
  json["judgements"] = Json::array();
  for (const NetJudgement& one : summary.judgements) json["judgements"].push_back(to_json(one));
  json["kept"] = summary.kept ? to_json(*summary.kept) : Json();
  json["parts"] = Json::array();
  for (const TrainNetSummary::RoundedPart& part : summary.parts)
    json["parts"].push_back(
        {{"name", part.name}, {"numbers", part.numbers}, {"format", part.format}, {"reads_signs", part.reads_signs}});
  json["files"] = Json::array();
  for (const TrainNetSummary::File& file : summary.files)
    json["files"].push_back({{"path", file.output.path.string()}, {"bytes", file.bytes}});
  json["verdict"] = summary.written ? to_json(*summary.written) : Json();
  return json;
}

}  // namespace nibble
