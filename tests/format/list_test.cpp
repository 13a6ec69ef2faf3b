// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "format/format.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::string error_of(std::string_view spelling) {
  try {
    find_format(spelling);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "";
}

TEST(FormatList, HoldsEveryBlockFile) {
  std::set<std::string> names;
  for (const FormatPtr& format : list_formats()) names.insert(format->name());
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(NIBBLE_SOURCE_DIR "/src/format/block")) {
    const std::string stem = entry.path().stem().string();
    if (entry.path().extension() != ".cpp") continue;
    ++files;
    EXPECT_TRUE(names.contains(stem)) << entry.path().filename() << " has no line in format/all.h";
  }
  EXPECT_GE(files, 5u);
}

TEST(FormatList, NamesAndIdsAreUnique) {
  std::set<std::string> names;
  std::set<std::uint32_t> ids;
  for (const FormatPtr& format : list_formats()) {
    EXPECT_TRUE(names.insert(format->name()).second) << format->name();
    EXPECT_FALSE(format->info().description.empty()) << format->name();
    if (format->info().ggml_type) {
      EXPECT_TRUE(ids.insert(*format->info().ggml_type).second) << format->name();
    }
  }
}

TEST(FormatList, EveryFormatIsFoundByItsNameAndId) {
  for (const FormatPtr& format : list_formats()) {
    EXPECT_EQ(find_format(format->name())->name(), format->name());
    if (format->info().ggml_type) {
      EXPECT_EQ(find_ggml_format(*format->info().ggml_type)->name(), format->name());
    }
  }
  EXPECT_EQ(find_format("Q4_0")->name(), "q4_0");
  EXPECT_EQ(find_ggml_format(4), nullptr);   // removed from ggml
  EXPECT_EQ(find_ggml_format(28), nullptr);  // f64: a type, but not one for weights
  EXPECT_EQ(find_raw_format(DType::bf16)->name(), "bf16");
  EXPECT_EQ(find_raw_format(DType::i32), nullptr);
}

TEST(FormatList, WrongSpellingsSayWhatIsWrong) {
  EXPECT_TRUE(error_of("q4_9").starts_with("no format has this name: q4_9; near it are q4_")) << error_of("q4_9");
  EXPECT_EQ(error_of("e8p3:g128"), "no format has this name: e8p3:g128; 'e8p3' is one, without ':g128'");
  EXPECT_NE(error_of("int8:row+a8").find("activations"), std::string::npos);
  EXPECT_NE(error_of("").find("no format has this name"), std::string::npos);
  EXPECT_NE(error_of(std::string(1000, 'x')).find("at most 64"), std::string::npos);
}

}  // namespace
}  // namespace nibble
