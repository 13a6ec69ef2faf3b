// SPDX-License-Identifier: Apache-2.0
#include "report/topics.h"

#include <gtest/gtest.h>

#include <set>

#include "base/utf8.h"
#include "nibble/error.h"
#include "pipeline/tell/inspect.h"
#include "quantize/recipe.h"

namespace nibble {
namespace {

bool has_chinese(std::string_view text) {
  for (std::size_t at = 0; at < text.size();)
    if (const char32_t c = next_code_point(text, at); c >= 0x4e00 && c <= 0x9fff) return true;
  return false;
}

void expect_both(const Bilingual& text, std::string_view topic) {
  EXPECT_FALSE(text.english.empty()) << topic;
  EXPECT_FALSE(has_chinese(text.english)) << text.english;
  EXPECT_TRUE(has_chinese(text.chinese)) << topic << ": " << text.english;
  EXPECT_EQ(find_invalid_utf8(text.chinese), std::string_view::npos) << topic;
}

TEST(Topics, BothLanguagesCoverTheSame) {
  for (const Topic& topic : all_topics()) {
    for (const Bilingual& text : {topic.title, topic.idea, topic.when, topic.strategy, topic.cost})
      expect_both(text, topic.name);
    for (const Bilingual& step : topic.process) expect_both(step, topic.name);
    for (const TopicCommand& command : topic.commands) expect_both(command.what, topic.name);
    EXPECT_GE(topic.process.size(), 2u) << topic.name;
    EXPECT_GE(topic.commands.size(), 2u) << topic.name;
  }
}

TEST(Topics, NamesAreUniqueAndFound) {
  std::set<std::string_view> names;
  for (const Topic& topic : all_topics()) {
    EXPECT_TRUE(names.insert(topic.name).second) << topic.name;
    EXPECT_EQ(find_topic(topic.name), &topic);
    for (const std::string_view other : topic.other_names) {
      EXPECT_TRUE(names.insert(other).second) << other;
      EXPECT_EQ(find_topic(other), &topic);
    }
  }
  for (const char* name :
       {"int8", "int4", "int2", "mixed", "8", "6", "5", "4", "3", "2", "ternary", "binary", "fp8", "nf4", "ptq", "qat"})
    EXPECT_NE(find_topic(name), nullptr) << name;
  EXPECT_EQ(find_topic("int9"), nullptr);
}

TEST(Topics, FiguresAreThereForFormatsThatExist) {
  std::set<std::string_view> measured;
  for (const MeasuredFormat& m : measured_formats()) {
    EXPECT_TRUE(measured.insert(m.format).second) << m.format;
    EXPECT_NO_THROW(find_recipe(m.format)) << m.format;
    EXPECT_GT(m.linear_bits, 0.9);
    EXPECT_GE(m.kl_mean, 0);
  }
  for (const Topic& topic : all_topics()) {
    EXPECT_FALSE(topic.formats.empty()) << topic.name;
    for (const std::string_view format : topic.formats)
      EXPECT_TRUE(measured.contains(format)) << topic.name << ": " << format;
  }
}

TEST(Topics, TextsAreWrappedAndComplete) {
  for (const Topic& topic : all_topics())
    for (const Language language : {Language::english, Language::chinese}) {
      const std::string text = topic_text(topic, language, {});
      for (const TopicCommand& command : topic.commands)
        EXPECT_NE(text.find(command.command), std::string::npos) << command.command;
      std::size_t begin = 0;
      for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
        const std::string_view line = std::string_view(text).substr(begin, end - begin);
        if (line.find("models/fable-5M") != line.npos) continue;  // commands and the note on figures are one line
        EXPECT_LE(display_width(line), 104u) << line;
        for (const std::string_view sign : {"，", "。", "；", "："})
          EXPECT_FALSE(line.substr(std::min(line.find_first_not_of(' '), line.size())).starts_with(sign)) << line;
      }
      const Json json = topic_json(topic, language);
      EXPECT_EQ(json["commands"].size(), topic.commands.size());
      EXPECT_EQ(json["measured"].size(), topic.formats.size());
    }
}

TEST(Topics, LanguagesByName) {
  EXPECT_EQ(parse_language("zh"), Language::chinese);
  try {
    parse_language("fr");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "unknown language 'fr'; known are en, zh");
  }
}

}  // namespace
}  // namespace nibble
