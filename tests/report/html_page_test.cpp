// SPDX-License-Identifier: Apache-2.0
#include "report/html_page.h"

#include <gtest/gtest.h>

#include <regex>

namespace nibble {
namespace {

Json small_report() {
  return {
      {"title", "a <b>title</b> </script><script>alert(1)</script>"}, {"nibble", "0"}, {"candidates", Json::array()}};
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

// No table is cut off at the page's edge: each lies in a box that scrolls, and wide cells may wrap.
TEST(HtmlPage, WideTablesScroll) {
  const std::string page = html_page(small_report());
  EXPECT_TRUE(std::regex_search(page, std::regex("\\.scroll \\{ overflow-x: auto")));
  EXPECT_TRUE(std::regex_search(page, std::regex("\\.interval \\{[^}]*white-space: normal")));
  std::size_t tables = 0;
  const std::regex table("(<div class=\"scroll\"[^>]*>)?<table id=\"([a-z-]+)\"");
  for (auto it = std::sregex_iterator(page.begin(), page.end(), table); it != std::sregex_iterator(); ++it, ++tables)
    EXPECT_TRUE((*it)[1].matched || (*it)[2] == "settings-table") << (*it)[2];  // whose cells break anywhere
  EXPECT_GE(tables, 8u);
}

}  // namespace
}  // namespace nibble
