// SPDX-License-Identifier: Apache-2.0
#include "report/html_page.h"

#include <gtest/gtest.h>

#include <regex>

namespace nibble {
namespace {

Json small_report() {
  return {{"title", "a <b>title</b> </script><script>alert(1)</script>"}, {"nibble", "0"}, {"candidates", Json::array()}};
}

TEST(HtmlPage, HoldsEverythingItShows) {
  const std::string page = html_page(small_report());
  EXPECT_EQ(page.find("{{page"), std::string::npos);
  EXPECT_NE(page.find("Chart.js v"), std::string::npos);
  EXPECT_NE(page.find("function drawQuality"), std::string::npos);
  EXPECT_NE(page.find("--accent"), std::string::npos);
}

TEST(HtmlPage, LoadsNothingFromElsewhere) {
  const std::string page = html_page(small_report());
  EXPECT_FALSE(std::regex_search(page, std::regex("<(script|img|link|iframe)[^>]*(src|href)=\"(?!data:)")));
  EXPECT_EQ(page.find("@import"), std::string::npos);
  EXPECT_EQ(page.find("url(http"), std::string::npos);
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
}

TEST(HtmlPage, NamesCannotEndTheScript) {
  const std::string page = html_page(small_report());
  EXPECT_EQ(page.find("<script>alert"), std::string::npos);
  const std::size_t begin = page.find("id=\"data\">") + 10, end = page.find("</script>", begin);
  EXPECT_EQ(Json::parse(page.substr(begin, end - begin)), small_report());
}

}  // namespace
}  // namespace nibble
