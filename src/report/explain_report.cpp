// SPDX-License-Identifier: Apache-2.0
#include "report/explain_report.h"

#include <fmt/format.h>

#include "pipeline/tell/explain_parts.h"
#include "report/number_text.h"

namespace nibble {
namespace {

std::string number_text(float value) { return explained_number(static_cast<double>(value)); }

std::string zero_points_text(const ZeroPoints& zeros) {
  return fmt::format(
      "\nTwo numberings of the same bytes\n"
      "  codes {} .. {}, zero point {}:  q = clamp(round(x / scale) + {}, {}, {})\n"
      "  codes 0 .. {}, zero point {}:  q = clamp(round(x / scale) + {}, 0, {})\n"
      "Both decode to scale * (q - zero); the zero points differ by {}. Textbooks often take the zero point of one and "
      "the codes of the\n"
      "other: {} would come back as {}.\n",
      zeros.lowest_signed, zeros.highest_signed, zeros.of_signed, zeros.of_signed, zeros.lowest_signed,
      zeros.highest_signed, zeros.highest_unsigned, zeros.of_unsigned, zeros.of_unsigned, zeros.highest_unsigned,
      zeros.of_unsigned - zeros.of_signed, number_text(zeros.example), explained_number(zeros.mixed_up));
}

}  // namespace

std::string explanation_text(const Explanation& explanation, const TableStyle& style) {
  std::string text = fmt::format("{}: {}; {} bits per weight\n", explanation.format, explanation.description,
                                 explained_number(explanation.bits_per_weight));
  if (!explanation.steps.empty()) {
    text += fmt::format("\nThe grid, chosen for {}\n", explanation.fitted_on);
    for (const ExplainedStep& step : explanation.steps)
      text += step.formula.empty() ? fmt::format("  {:<26} {}\n", step.name, step.value)
                                   : fmt::format("  {:<26} {:<14} = {}\n", step.name, step.value, step.formula);
  }
  if (!explanation.points.empty()) {
    text += "  points                    ";
    for (const float point : explanation.points) text += " " + number_text(point);
    text += "\n";
  }
  if (!explanation.rule.empty()) text += "\n" + explanation.rule + "\n";
  text += "\n";
  Table table(
      {{"x", Align::right}, {"code", Align::right}, {"decoded", Align::right}, {"error", Align::right}, {"how"}});
  for (const ExplainedNumber& number : explanation.numbers)
    table.add({number_text(number.given), std::to_string(number.code), number_text(number.decoded),
               fmt::format("{:.3g}", number.error + 0.0), number.how});
  text += table.text(style);
  if (explanation.zero_points) text += zero_points_text(*explanation.zero_points);
  return text;
}

Json to_json(const Explanation& explanation) {
  Json json = {{"format", explanation.format},
               {"description", explanation.description},
               {"bits_per_weight", explanation.bits_per_weight},
               {"group", explanation.span},
               {"range", {explanation.low, explanation.high}},
               {"fitted_on", explanation.fitted_on},
               {"grid", Json::array()},
               {"rule", explanation.rule},
               {"points", explanation.points},
               {"numbers", Json::array()}};
  for (const ExplainedStep& step : explanation.steps)
    json["grid"].push_back({{"name", step.name}, {"formula", step.formula}, {"value", step.value}});
  for (const ExplainedNumber& number : explanation.numbers)
    json["numbers"].push_back({{"given", number.given},
                               {"code", number.code},
                               {"decoded", number.decoded},
                               {"error", number.error},
                               {"how", number.how}});
  if (explanation.zero_points) {
    const ZeroPoints& zeros = *explanation.zero_points;
    json["zero_points"] = {{"signed", zeros.of_signed},
                           {"unsigned", zeros.of_unsigned},
                           {"example", zeros.example},
                           {"mixed_up", zeros.mixed_up}};
  }
  return json;
}

}  // namespace nibble
