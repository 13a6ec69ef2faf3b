// SPDX-License-Identifier: Apache-2.0
//
// What `nibble explain int8` tells, as data: for each way of storing weights what happens, when to use it, how, and
// what it usually costs, in English and in Chinese. Commands and figures are shared by the languages. Everything here
// is immutable.
//
//   std::string text = topic_text(find_topic("4"), Language::chinese, style);
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "report/json_report.h"
#include "report/table.h"

namespace nibble {

enum class Language { english, chinese };
// "en", "zh". Error(invalid_argument) for others.
Language parse_language(std::string_view name);

struct Bilingual {
  std::string_view english, chinese;
  std::string_view in(Language language) const { return language == Language::english ? english : chinese; }
};

struct TopicCommand {
  std::string_view command;  // as in a shell, "nibble ..."
  Bilingual what;
};

struct Topic {
  std::string_view name;                          // "int8"
  std::span<const std::string_view> other_names;  // "8"
  Bilingual title, idea, when, strategy, cost;    // a line; then a paragraph each
  std::span<const Bilingual> process;             // steps, in order
  std::span<const TopicCommand> commands;
  std::span<const std::string_view> formats;  // whose measured figures are shown
};

std::span<const Topic> all_topics();
// The way of storing that a format or mix is an example of, by its name and bits per weight.
const Topic& topic_of_format(std::string_view format, double bits_per_weight);
// Null when no topic has this name.
const Topic* find_topic(std::string_view name);

// On models/fable-5M and its held-out text: `nibble compare models/fable-5M`, the figures of README.md, of the formats
// in its table; `nibble eval OUT --against models/fable-5M --text models/fable-5M/heldout.txt --windows 24` of the
// others.
struct MeasuredFormat {
  std::string_view format;
  double linear_bits;        // bits per weight in the Linear layers
  double perplexity_change;  // a share: 0.01 is 1 %
  double kl_mean;            // nats
  double top1_agreement;     // a share
};
std::span<const MeasuredFormat> measured_formats();

std::string topic_text(const Topic& topic, Language language, const TableStyle& style);
// name, language, title, idea, process, when, strategy, cost, commands [{command, what}], measured [{format, ...}]
Json topic_json(const Topic& topic, Language language);

}  // namespace nibble
