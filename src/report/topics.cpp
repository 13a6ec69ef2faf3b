// SPDX-License-Identifier: Apache-2.0
#include "report/topics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "nibble/error.h"
#include "report/number_text.h"
#include "report/wrapped_text.h"

namespace nibble {
namespace {

struct Headings {
  Bilingual process{"How it works", "过程"}, when{"When to use it", "适用场合"},
      strategy{"How to go about it", "怎么做"}, cost{"What it costs", "代价"}, commands{"Commands", "命令"};
  std::array<Bilingual, 5> columns = {Bilingual{"format", "格式"},
                                      {"bits/weight", "位/权重"},
                                      {"perplexity", "困惑度"},
                                      {"KL", "KL 散度"},
                                      {"same top-1", "首选一致"}};
};
constexpr Headings kHeadings;

constexpr Bilingual kMeasured{
    "Measured with this tool on the bundled model, models/fable-5M: on 27,285 held-out tokens the formats of "
    "README.md's table, on 6,120 the "
    "others. Real models differ, from one another, too: measure yours.",
    "用本工具在自带的小模型 models/fable-5M 上实测：README.md 表中的格式用 27,285 个留出词元，其余用 6,120 "
    "个。实际模型的数值各不相同，请自行测量。"};

const MeasuredFormat* find_measured(std::string_view format) {
  const auto measured = measured_formats();
  const auto found = std::ranges::find(measured, format, &MeasuredFormat::format);
  return found == measured.end() ? nullptr : &*found;
}

std::string figures_text(const Topic& topic, Language language, const TableStyle& style) {
  std::vector<Column> columns;
  for (const Bilingual& column : kHeadings.columns)
    columns.push_back({std::string(column.in(language)), columns.empty() ? Align::left : Align::right});
  Table table(columns);
  for (const std::string_view format : topic.formats)
    if (const MeasuredFormat* const m = find_measured(format))
      table.add({std::string(format), fixed_text(m->linear_bits, 2), signed_percent_text(m->perplexity_change),
                 fmt::format("{:.5f}", m->kl_mean), percent_text(m->top1_agreement)});
  return table.num_rows() == 0 ? std::string() : table.text(style) + std::string(kMeasured.in(language)) + "\n";
}

}  // namespace

Language parse_language(std::string_view name) {
  if (name == "en") return Language::english;
  if (name == "zh") return Language::chinese;
  throw Error(ErrorKind::invalid_argument, fmt::format("unknown language '{}'; known are en, zh", name));
}

const Topic* find_topic(std::string_view name) {
  for (const Topic& topic : all_topics())
    if (topic.name == name || std::ranges::find(topic.other_names, name) != topic.other_names.end()) return &topic;
  return nullptr;
}

const Topic& topic_of_format(std::string_view format, double bits_per_weight) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kByName = {{{"ternary", "ternary"},
                                                                                     {"tq", "ternary"},
                                                                                     {"binary", "binary"},
                                                                                     {"q1_0", "binary"},
                                                                                     {"fp8", "fp8"},
                                                                                     {"mxfp8", "fp8"},
                                                                                     {"nf4", "nf4"},
                                                                                     {"mxfp4", "int4"},
                                                                                     {"nvfp4", "int4"}}};
  for (const auto& [beginning, topic] : kByName)
    if (format.starts_with(beginning)) return *find_topic(topic);
  const int bits = std::clamp(static_cast<int>(bits_per_weight), 2, 8);
  return *find_topic(bits == 7 ? "8" : std::to_string(bits));
}

std::string topic_text(const Topic& topic, Language language, const TableStyle& style) {
  const auto heading = [&](const Bilingual& text) { return fmt::format("\n{}\n", text.in(language)); };
  std::string text = fmt::format("{}\n\n", topic.title.in(language)) + wrapped_text(topic.idea.in(language), 0);
  text += heading(kHeadings.process);
  for (std::size_t i = 0; i < topic.process.size(); ++i)
    text += wrapped_text(fmt::format("{}. {}", i + 1, topic.process[i].in(language)), 2);
  text += heading(kHeadings.when) + wrapped_text(topic.when.in(language), 2);
  text += heading(kHeadings.strategy) + wrapped_text(topic.strategy.in(language), 2);
  text += heading(kHeadings.cost) + wrapped_text(topic.cost.in(language), 2);
  text += figures_text(topic, language, style);
  text += heading(kHeadings.commands);
  for (const TopicCommand& command : topic.commands)
    text += fmt::format("  {}\n      {}\n", command.command, command.what.in(language));
  return text;
}

Json topic_json(const Topic& topic, Language language) {
  Json json = {{"name", topic.name},
               {"language", language == Language::english ? "en" : "zh"},
               {"title", topic.title.in(language)},
               {"idea", topic.idea.in(language)},
               {"process", Json::array()},
               {"when", topic.when.in(language)},
               {"strategy", topic.strategy.in(language)},
               {"cost", topic.cost.in(language)},
               {"commands", Json::array()},
               {"measured", Json::array()}};
  for (const Bilingual& step : topic.process) json["process"].push_back(step.in(language));
  for (const TopicCommand& command : topic.commands)
    json["commands"].push_back({{"command", command.command}, {"what", command.what.in(language)}});
  for (const std::string_view format : topic.formats)
    if (const MeasuredFormat* const m = find_measured(format))
      json["measured"].push_back({{"format", m->format},
                                  {"linear_bits_per_weight", m->linear_bits},
                                  {"perplexity_change", m->perplexity_change},
                                  {"kl_mean", m->kl_mean},
                                  {"top1_agreement", m->top1_agreement}});
  return json;
}

}  // namespace nibble
