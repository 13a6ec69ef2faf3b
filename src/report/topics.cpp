// SPDX-License-Identifier: Apache-2.0
#include "report/topics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "nibble/error.h"
#include "report/number_text.h"

namespace nibble {
namespace {

struct Headings {
  Bilingual process{"How it works", "过程"}, when{"When to use it", "适用场合"}, strategy{"How to go about it", "怎么做"},
      cost{"What it costs", "代价"}, commands{"Commands", "命令"};
  std::array<Bilingual, 5> columns = {
      Bilingual{"format", "格式"}, {"bits/weight", "位/权重"}, {"perplexity", "困惑度"}, {"KL", "KL 散度"}, {"same top-1", "首选一致"}};
};
constexpr Headings kHeadings;

constexpr Bilingual kMeasured{
    "Measured with this tool on the bundled model, models/tale-4M (6,120 held-out tokens); small models lose more than large ones.",
    "用本工具在自带模型 models/tale-4M 上实测（留出文本 6,120 个词元）；小模型的损失通常大于大模型。"};

bool is_wide(char32_t c) { return c >= 0x2e80; }
bool opens(char32_t c) { return c == U'（' || c == U'“'; }
bool closes(char32_t c) { return std::u32string_view(U"，。；：、）！？”").find(c) != std::u32string_view::npos; }

// Lines of at most 100 columns, each after `indent` spaces. Words stay whole; wide characters may stand at any line's end, but none of the
// signs that close a sentence at its beginning.
std::string wrapped(std::string_view text, std::size_t indent) {
  constexpr std::size_t kWidth = 100;
  std::string result(indent, ' '), word;
  std::size_t column = indent;
  bool space = false, is_open = false;
  const auto put = [&](bool may_break) {
    const std::size_t width = display_width(word);
    if (may_break && column + (space ? 1 : 0) + width > kWidth) {
      result += "\n" + std::string(indent, ' ');
      column = indent;
      space = false;
    }
    if (space) result += ' ', ++column;
    result += word;
    column += width;
    word.clear();
    space = false;
  };
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == ' ') {
      if (!word.empty()) put(true);
      space = true;
      ++at;
      continue;
    }
    const std::size_t begin = at;
    const char32_t c = next_code_point(text, at);
    if (is_wide(c) && !word.empty() && !is_open) put(true);
    word += text.substr(begin, at - begin);
    is_open = opens(c);
    if (is_wide(c) && !is_open) put(!closes(c));
  }
  if (!word.empty()) put(true);
  return result + "\n";
}

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
      table.add({std::string(format), fixed_text(m->linear_bits, 2), signed_percent_text(m->perplexity_change), fmt::format("{:.5f}", m->kl_mean),
                 percent_text(m->top1_agreement)});
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

std::string topic_text(const Topic& topic, Language language, const TableStyle& style) {
  const auto heading = [&](const Bilingual& text) { return fmt::format("\n{}\n", text.in(language)); };
  std::string text = fmt::format("{}\n\n", topic.title.in(language)) + wrapped(topic.idea.in(language), 0);
  text += heading(kHeadings.process);
  for (std::size_t i = 0; i < topic.process.size(); ++i) text += wrapped(fmt::format("{}. {}", i + 1, topic.process[i].in(language)), 2);
  text += heading(kHeadings.when) + wrapped(topic.when.in(language), 2);
  text += heading(kHeadings.strategy) + wrapped(topic.strategy.in(language), 2);
  text += heading(kHeadings.cost) + wrapped(topic.cost.in(language), 2);
  text += figures_text(topic, language, style);
  text += heading(kHeadings.commands);
  for (const TopicCommand& command : topic.commands) text += fmt::format("  {}\n      {}\n", command.command, command.what.in(language));
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
  for (const TopicCommand& command : topic.commands) json["commands"].push_back({{"command", command.command}, {"what", command.what.in(language)}});
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
